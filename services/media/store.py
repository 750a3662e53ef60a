"""Images under the SHA-256 of their bytes, each for the tenants that have it.

An image exists for a tenant exactly when there is a valid row (tenant, digest), which is written
last and removed first; the bytes are shared beneath (docs/decisions/ownership.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from services import errors
from services.media.decode import inspect
from services.media.exclusion import Exclusion
from services.media.formats import jpeg
from services.media.info import ImageInfo, check_bytes
from services.media.layout import image_folder as image_folder
from services.media.layout import meta_path, row_path
from services.media.objects import Objects
from services.media.ownership import Clock, Heed, Ownership, nobody_is_told, utc_now
from services.media.pixels import RENDITION_VERSION
from services.media.record import ImageRecord
from services.media.rendition import render

BIG_PIXELS: Final = 12_000_000
"""From here on an image that is no JPEG is decoded alone: 50 megapixels of WebP take 1.1 GB for a
moment, where a JPEG, decoded while scaling, takes 0.03."""

RENEWED_AFTER: Final = timedelta(minutes=1)
"""An upload of what its tenant has renews the record when it is older, and else writes nothing:
retention is told in days."""

T = TypeVar("T")

Encoded = bytes | Callable[[], bytes]
"""An encoded image, or what reads it and blocks."""


_log = structlog.get_logger()


class RenditionChanged(Exception):
    """A stored rendition is not the one that its record speaks of."""


class ImageStore:
    """Images by tenant and digest. All methods raise StoreUnavailable when the object store fails.

    Writes, deletions and decoding, once begun, go on when their caller leaves, and count until they
    have ended; `close` waits for them. One process at a time may write or delete images; any number
    may read.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        concurrency: int = os.cpu_count() or 1,
        on_gone: Heed = nobody_is_told,
        on_kept: Heed = nobody_is_told,
        clock: Clock = utc_now,
        exclusion: Exclusion | None = None,
    ) -> None:
        """`concurrency` images are decoded at once, of big ones only one: see BIG_PIXELS.

        `on_gone` is told of each image that nobody has any more, again and again until it does not
        raise StoreUnavailable; `on_kept` of each that a tenant has from now on, whether or not
        others had it. They are never told of one image at the same time. `exclusion` is whose turn
        it is with an image, by default among the callers of this store.
        """
        self._objects = objects
        self._on_kept = on_kept
        self._clock = clock
        self._ownership = Ownership(objects, on_gone, clock)
        self._slots = asyncio.Semaphore(concurrency)
        self._big = asyncio.Semaphore(1)
        self._exclusion = exclusion or Exclusion()
        self._begun: set[asyncio.Task[Any]] = set()

    async def create(self, tenant: str, data: bytes, digest: str = "") -> tuple[ImageRecord, bool]:
        """Store an image for a tenant; its record, and False when the tenant had it already.

        Returns only when the image survives a power cut. `digest`, when given, is what the bytes
        must hash to. What a tenant does not have costs the same whether or not others have it.
        Raises EmptyImage, ImageTooLarge, DigestMismatch, UnsupportedFormat, CorruptImage,
        TooManyPixels; nothing is written then.
        """
        check_bytes(data)
        return await self._finish(self._create(tenant, data, digest))

    async def get(self, tenant: str, digest: str) -> ImageRecord:
        """What is known of a tenant's image: one small read. Raises ImageNotFound.

        Never looks at what others have, so the time it takes tells nothing about them.
        """
        record = await self._ownership.row(tenant, digest)
        if record is None:
            raise _not_found(digest)
        return record

    async def still(self, tenant: str, digest: str) -> None:
        """Look once more whether a tenant has an image that it had a moment ago: less than a read.

        Rows are replaced in one step, so the name of one that was valid is enough. Raises
        ImageNotFound.
        """
        if not await self._objects.exists(row_path(tenant, digest)):
            raise _not_found(digest)

    async def exists(self, digest: str) -> bool:
        """Whether anybody has an image: less than a read. Not for the ears of tenants."""
        return await self._objects.exists(meta_path(digest))

    async def original(self, record: ImageRecord) -> bytes:
        """The bytes that were stored. Raises ImageNotFound when it has been deleted since."""
        return await self._blob(record.digest, "original")

    async def original_for_thread(self, record: ImageRecord) -> Encoded:
        """The original, or where it is a file what reads it in the thread that decodes it.

        That raises what `original` does.
        """
        if read := self._objects.reader(_blob_path(record.digest, "original")):
            return partial(_found, read, record.digest)
        return await self.original(record)

    async def rendition(self, record: ImageRecord) -> bytes:
        """The upright JPEG that models look at. Raises ImageNotFound as `original` does.

        One that an older recipe made is made anew: results are named by today's.
        """
        if record.rendition_version != RENDITION_VERSION:
            _, made = await self.render(await self.original(record))
            return made
        if not record.rendition_bytes:
            return await self.original(record)
        made = await self._blob(record.digest, "rendition")
        if len(made) != record.rendition_bytes:
            # Another tenant's upload wrote it by another recipe, in the middle of a rolling update.
            _, made = await self.render(await self.original(record))
        return made

    async def rendition_for_thread(self, record: ImageRecord) -> Encoded:
        """The rendition, or where it is a file what reads it in the thread that decodes it.

        That raises what `rendition` does, and RenditionChanged when only `rendition` can tell.
        """
        if record.rendition_version == RENDITION_VERSION:
            size = record.rendition_bytes or record.byte_size
            path = _blob_path(record.digest, "rendition" if record.rendition_bytes else "original")
            if read := self._objects.reader(path):
                return partial(_whole, read, record.digest, size)
        return await self.rendition(record)

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

    async def delete(self, tenant: str, digest: str) -> None:
        """Take an image from a tenant; from the first moment it is gone for it.

        When nobody else has it, its bytes, its results and whatever `on_gone` knows go too. What
        cannot be cleared at once is left to `finish`. Raises ImageNotFound when the tenant does not
        have the image.
        """
        if not await self._finish(self._delete(tenant, digest, None)):
            raise _not_found(digest)

    async def expire(self, tenant: str, digest: str, before: datetime) -> bool:
        """Delete a tenant's image unless it was uploaded since `before`; whether it was deleted.

        A record that cannot be read does not save it: ask only when its object is older.
        """
        return await self._finish(self._delete(tenant, digest, before))

    async def finish(self, digest: str) -> bool:
        """Go on with a deletion whose tombstone stands; True when there is nothing left to do."""
        return await self._finish(self._bury(digest))

    async def tidy(self, digest: str, heir: str) -> bool:
        """Put an image right that a crash left half-way; True when there was something to do.

        What nobody has is cleared. What is from before images had owners becomes `heir`'s.
        """
        return await self._finish(self._tidy(digest, heir))

    async def close(self) -> None:
        """Wait for what has been begun."""
        while self._begun:
            await asyncio.wait(self._begun)

    async def _create(self, tenant: str, data: bytes, expected: str) -> tuple[ImageRecord, bool]:
        digest = await asyncio.to_thread(_digest_of, data)
        if expected and expected != digest:
            raise errors.DigestMismatch(
                f"digest: the bytes hash to {digest}, not to {expected}", field="digest"
            )
        async with self._exclusion.alone(digest):
            found = await self._ownership.row(tenant, digest)
            if found is not None and await self._is_whole(tenant, found):
                return await self._renew(tenant, found), False
            return await self._write(tenant, digest, data, found), found is None

    async def _write(
        self, tenant: str, digest: str, data: bytes, found: ImageRecord | None
    ) -> ImageRecord:
        info, rendition = await self.render(data)
        record = ImageRecord.new(digest, info, data, rendition, self._clock())
        if found is not None:
            record = replace(record, created_at=found.created_at)
        blobs = {"original": data, "rendition": rendition}
        try:
            await self._ownership.write(
                tenant, record, {name: blobs[name] for name in record.blobs}
            )
        except errors.StoreUnavailable:
            if found is None:
                # A full disk needs the place at once; else the sweeper finds what is left.
                with contextlib.suppress(errors.StoreUnavailable):
                    await self._ownership.abandon(tenant, digest)
            raise
        await self._on_kept(digest)
        return record

    async def _is_whole(self, tenant: str, record: ImageRecord) -> bool:
        """Whether all of an image's files are there, in today's recipe."""
        if record.rendition_version != RENDITION_VERSION:
            return False
        return await self._ownership.is_whole(tenant, record)

    async def _renew(self, tenant: str, record: ImageRecord) -> ImageRecord:
        now = self._clock()
        if now - record.renewed_at < RENEWED_AFTER:
            # Whoever wrote it may have died before its name was synced.
            await self._objects.sync([row_path(tenant, record.digest)])
            return record
        renewed = replace(record, renewed_at=now)
        await self._ownership.write_row(tenant, renewed)
        return renewed

    async def _delete(self, tenant: str, digest: str, before: datetime | None) -> bool:
        async with self._exclusion.alone(digest):
            if await self._objects.get(row_path(tenant, digest)) is None:
                return False
            if before is not None:
                record = await self._ownership.row(tenant, digest)
                if record is not None and record.renewed_at >= before:
                    return False
            await self._ownership.take(tenant, digest)
            try:
                await self._ownership.bury(digest)
            except errors.StoreUnavailable:
                _log.warning("a deletion is finished later", digest=digest)
            return True

    async def _bury(self, digest: str) -> bool:
        async with self._exclusion.alone(digest):
            return await self._ownership.bury(digest)

    async def _tidy(self, digest: str, heir: str) -> bool:
        async with self._exclusion.alone(digest):
            return await self._ownership.tidy(digest, heir)

    async def _blob(self, digest: str, name: str) -> bytes:
        data = await self._objects.get(_blob_path(digest, name))
        if data is None:
            raise _not_found(digest)
        return data

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


def _blob_path(digest: str, name: str) -> str:
    return f"{image_folder(digest)}/{name}"


def _whole(read: Callable[[], bytes | None], digest: str, size: int) -> bytes:
    data = _found(read, digest)
    if len(data) != size:
        raise RenditionChanged
    return data


def _found(read: Callable[[], bytes | None], digest: str) -> bytes:
    data = read()
    if data is None:
        raise _not_found(digest)
    return data


def _not_found(digest: str) -> errors.ImageNotFound:
    return errors.ImageNotFound(f"there is no image {digest}", field="digest")


def _is_big(info: ImageInfo) -> bool:
    return info.pixels >= BIG_PIXELS and info.media_type != jpeg.MEDIA_TYPE


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
