"""What the store says by itself: whose an image is, and what models once said about it.

Read here, as every model service does, and not asked of the images service: one small read says
whether an image is there, also while that service is down.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from services.errors import VisionmeshError
from services.media.record import ImageRecord
from services.media.store import ImageStore
from services.results.keys import ResultKey
from services.results.results import Results
from services.serving import tenancy

_log = structlog.get_logger()


class Stored:
    """Reads images' records and results; writes nothing."""

    def __init__(self, images: ImageStore, results: Results) -> None:
        self._images = images
        self._results = results

    async def image(self, digest: str) -> ImageRecord:
        """The tenant's own record of an image. Raises ImageNotFound, StoreUnavailable."""
        return await self._images.get(tenancy.tenant(), digest)

    async def result(
        self, digest: str, model: str, version: str, check: Callable[[bytes], None]
    ) -> bytes | None:
        """The encoded result of an image that is the tenant's; None when there is none to be had.

        `check` raises ValueError for bytes that are no result. Raises what the model raised when
        that was the result.
        """
        try:
            found = await self._results.get(ResultKey(digest, model, version), check)
        except VisionmeshError as error:
            _log.warning("stored result is not read", model=model, error=error.message)
            return None
        if isinstance(found, VisionmeshError):
            raise found
        return found
