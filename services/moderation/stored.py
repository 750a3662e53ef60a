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
from services.results.store import ResultStore

_log = structlog.get_logger()


class StoredReplies:
    """Stored results as replies of their models. Nothing here asks a model."""

    def __init__(
        self, images: ImageStore, results: ResultStore, models: Mapping[str, ModelSource]
    ) -> None:
        self._images = images
        self._results = results
        self._models = models

    async def size(self, digest: str) -> Size:
        """The size of an image that is there. Raises ImageNotFound, StoreUnavailable."""
        record = await self._images.get(digest)
        return Size(record.width, record.height)

    async def reply(self, digest: str, model: str, version: str, size: Size) -> Reply:
        """What this version of a model once said about an image of this size, or why not."""
        key = ResultKey(digest, model, version)
        missing = errors.NotFound(f"model {model!r} has no stored result of this image")
        try:
            data = await self._results.get(key)
            return missing if data is None else self._answer(key, data, size)
        except ValueError as error:
            _log.warning("stored result is not readable", key=key, error=str(error))
            return missing
        except VisionmeshError as error:
            return error

    def _answer(self, key: ResultKey, data: bytes, size: Size) -> Answer:
        return Answer(self._models[key.model].decode(data), key.version, size)
