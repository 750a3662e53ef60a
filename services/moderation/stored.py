"""What the store knows of an image: that it is there, its size, and what models said about it."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from services import errors
from services.errors import VisionmeshError
from services.media.store import ImageStore
from services.moderation.models import ModelSource
from services.moderation.types import Answer, Reply, Size
from services.results.keys import ResultKey
from services.results.results import Results
from services.serving import tenancy

_log = structlog.get_logger()


class StoredReplies:
    """Stored results as replies of their models. Nothing here asks a model."""

    def __init__(
        self, images: ImageStore, results: Results, models: Mapping[str, ModelSource]
    ) -> None:
        self._images = images
        self._results = results
        self._models = models

    async def size(self, digest: str) -> Size:
        """The size of an image that the current tenant has.

        Raises ImageNotFound, StoreUnavailable.
        """
        record = await self._images.get(tenancy.tenant(), digest)
        return Size(record.width, record.height)

    async def reply(self, digest: str, model: str, version: str, size: Size) -> Reply:
        """What this version of a model once said about an image of this size, or why not.

        That it could not look at the image is what it said too.
        """
        key = ResultKey(digest, model, version)
        missing = errors.ResultNotFound(f"model {model!r} has no stored result of this image")
        if not version:
            return missing
        try:
            found = await self._results.get(key, self._models[model].check_stored)
            if isinstance(found, VisionmeshError):
                return found
            return missing if found is None else self._answer(key, found, size)
        except ValueError as error:
            _log.warning("stored result is not readable", key=key, error=str(error))
            return missing
        except VisionmeshError as error:
            return error

    def _answer(self, key: ResultKey, data: bytes, size: Size) -> Answer:
        return Answer(self._models[key.model].decode(data), key.version, size)
