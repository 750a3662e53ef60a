"""Results in the object store, beside the image that they are about."""

from __future__ import annotations

from services.media.objects import Objects
from services.media.store import image_folder
from services.results.keys import ResultKey


def result_path(key: ResultKey) -> str:
    """Where a result is kept: in its image's folder, so that it goes when the image goes."""
    return f"{image_folder(key.digest)}/result.{key.model}.{key.version}"


class ResultStore:
    """Encoded results by key. A result can be made again, so writing one waits for no disk."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, key: ResultKey) -> bytes | None:
        """The encoded result, or None. Raises StoreUnavailable."""
        return await self._objects.get(result_path(key))

    async def put(self, key: ResultKey, data: bytes) -> None:
        """Keep an encoded result. Raises StoreUnavailable."""
        await self._objects.put(result_path(key), data)

    async def delete(self, key: ResultKey) -> None:
        """Forget a result; one that is not there is no error. Raises StoreUnavailable."""
        await self._objects.delete(result_path(key))
