"""Images under the SHA-256 of their bytes.

One folder an image, `images/<first two digits>/<digest>/`, with `original`, `rendition` where the
original does not serve as its own, results, and `meta.json`, which is written last and removed
first: an image exists exactly when a valid `meta.json` does (docs/decisions/existence.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from services import errors
from services.media.decode import inspect
from services.media.formats import jpeg
from services.media.info import ImageInfo, check_bytes
from services.media.objects import Objects
from services.media.pixels import RENDITION_VERSION
from services.media.record import ImageRecord
from services.media.rendition import render

BIG_PIXELS: Final = 12_000_000
"""From here on an image that is no JPEG is decoded alone: 50 megapixels of WebP take 1.1 GB for a
moment, where a JPEG, decoded while scaling, takes 0.03."""

_META: Final = "meta.json"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


def image_folder(digest: str) -> str:
    """Where everything of an image is kept. Raises InvalidArgument when it is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise errors.InvalidArgument(
            "digest: not 64 lower-case hexadecimal digits",
            field="digest",
            limit="64 hexadecimal digits",
        )
    return f"images/{digest[:2]}/{digest}"


class ImageStore:
    """Images by digest. Every method raises StoreUnavailable when the object store fails.

    Writes, deletions and decoding, once begun, go on when their caller leaves, and count until they
    have ended; `close` waits for them. One process at a time may write or delete an image; any
    number may read.
    """

    def __init__(self, objects: Objects, *, concurrency: int = os.cpu_count() or 1) -> None:
        """`concurrency` images are decoded at once, of big ones only one: see BIG_PIXELS."""
        self._objects = objects
        self._slots = asyncio.Semaphore(concurrency)
        self._big = asyncio.Semaphore(1)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._begun: set[asyncio.Task[Any]] = set()

    async def create(self, data: bytes, digest: str = "") -> tuple[ImageRecord, bool]:
        """Store an image; the record, and False when it was there already.

        Returns only when the image survives a power cut. `digest`, when given, is what the bytes
        must hash to. Raises EmptyImage, ImageTooLarge, DigestMismatch, UnsupportedFormat,
        CorruptImage, TooManyPixels; nothing is written then.
        """
        check_bytes(data)
        return await self._finish(self._create(data, digest))

    async def get(self, digest: str) -> ImageRecord:
        """What is known of an image: one small read. Raises ImageNotFound."""
        record = await self._read(digest)
        if record is None:
            raise _not_found(digest)
        return record

    async def original(self, record: ImageRecord) -> bytes:
        """The bytes that were stored. Raises ImageNotFound when it has been deleted since."""
        return await self._blob(record.digest, "original")

    async def rendition(self, record: ImageRecord) -> bytes:
        """The upright JPEG that models look at. Raises ImageNotFound as `original` does.

        One that an older recipe made is made anew: results are named by today's.
        """
        if record.rendition_version != RENDITION_VERSION:
            _, made = await self.render(await self.original(record))
            return made
        name = "rendition" if record.rendition_bytes else "original"
        return await self._blob(record.digest, name)

    async def render(self, data: bytes) -> tuple[ImageInfo, bytes]:
        """What bytes are, and their rendition, within this store's bounds; stores nothing.

        Raises EmptyImage, ImageTooLarge, UnsupportedFormat, CorruptImage, TooManyPixels.
        """
        info = await asyncio.to_thread(inspect, data)
        async with contextlib.AsyncExitStack() as held:
            if _is_big(info):
                await held.enter_async_context(self._big)
            await held.enter_async_context(self._slots)
            # From here on the slots are the thread's: it goes on when the caller leaves.
            return info, await self._finish(_rendered(data, info, held.pop_all()))

    async def delete(self, digest: str) -> None:
        """Delete an image, its rendition and its results; from the first moment it is gone.

        Removes also what an upload or a deletion that died half-way left. Raises ImageNotFound when
        there was nothing at all.
        """
        await self._finish(self._delete(digest))

    async def close(self) -> None:
        """Wait for what has been begun."""
        while self._begun:
            await asyncio.wait(self._begun)

    async def _create(self, data: bytes, expected: str) -> tuple[ImageRecord, bool]:
        digest = await asyncio.to_thread(_digest_of, data)
        if expected and expected != digest:
            raise errors.DigestMismatch(
                f"digest: the bytes hash to {digest}, not to {expected}", field="digest"
            )
        async with self._alone(digest):
            found = await self._read(digest)
            if found is not None and await self._is_whole(found):
                # Whoever wrote it may have died before it was synced.
                folder = image_folder(digest)
                await self._objects.sync(f"{folder}/{name}" for name in (*found.blobs, _META))
                return found, False
            return await self._write(digest, data), found is None

    async def _write(self, digest: str, data: bytes) -> ImageRecord:
        folder = image_folder(digest)
        info, rendition = await self.render(data)
        record = ImageRecord.new(digest, info, data, rendition)
        blobs = {"original": data, "rendition": rendition}
        await self._objects.put_all(
            {f"{folder}/{name}": blobs[name] for name in record.blobs}, durable=True
        )
        await self._objects.put(f"{folder}/{_META}", record.encode(), durable=True)
        return record

    async def _delete(self, digest: str) -> None:
        async with self._alone(digest):
            folder = image_folder(digest)
            record = await self._read(digest)
            await self._objects.delete(f"{folder}/{_META}", durable=True)
            if not await self._objects.delete_folder(folder) and record is None:
                raise _not_found(digest)

    async def _read(self, digest: str) -> ImageRecord | None:
        data = await self._objects.get(f"{image_folder(digest)}/{_META}")
        if data is None:
            return None
        try:
            return ImageRecord.decode(data)
        except ValueError:
            return None

    async def _is_whole(self, record: ImageRecord) -> bool:
        """Whether all of an image's files are there, in today's recipe."""
        if record.rendition_version != RENDITION_VERSION:
            return False
        folder = image_folder(record.digest)
        sizes = [await self._objects.size(f"{folder}/{name}") for name in record.blobs]
        return sizes == list(record.blobs.values())

    async def _blob(self, digest: str, name: str) -> bytes:
        data = await self._objects.get(f"{image_folder(digest)}/{name}")
        if data is None:
            raise _not_found(digest)
        return data

    @contextlib.asynccontextmanager
    async def _alone(self, digest: str) -> AsyncIterator[None]:
        """One write or deletion of an image at a time."""
        lock = self._locks.get(digest)
        if lock is None:
            lock = self._locks[digest] = asyncio.Lock()
        async with lock:
            yield

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end, also when the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when the caller has left


async def _rendered(data: bytes, info: ImageInfo, held: contextlib.AsyncExitStack) -> bytes:
    """The rendition; lets go of what is held when the thread has ended."""
    async with held:
        return await asyncio.to_thread(render, data, info)


def _not_found(digest: str) -> errors.ImageNotFound:
    return errors.ImageNotFound(f"there is no image {digest}", field="digest")


def _is_big(info: ImageInfo) -> bool:
    return info.pixels >= BIG_PIXELS and info.media_type != jpeg.MEDIA_TYPE


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
