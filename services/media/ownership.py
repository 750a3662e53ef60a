"""Who has an image, and what becomes of one that nobody has any more.

Nothing here takes a lock: the image store sees to it that one image is worked on once at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from services.errors import StoreUnavailable
from services.media.layout import (
    META,
    OWNED,
    RESULTS,
    image_folder,
    meta_path,
    owner_path,
    row_path,
    tombstone_path,
)
from services.media.objects import Objects
from services.media.record import ImageRecord, is_ownerless

GRACE: Final = timedelta(seconds=60)
"""For so long a tombstone stands: whoever works on a result when its image is deleted, has
published it or given up by then (the longest deadline is 60 s), and the last look finds it."""

Clock = Callable[[], datetime]
Heed = Callable[[str], Awaitable[None]]
"""Told the digest of an image that nobody has any more, or that somebody has from now on."""


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


async def nobody_is_told(digest: str) -> None:
    """For a store beside which nothing of an image is kept."""


class Ownership:
    """Rows (tenant, digest), their back-references, and tombstones. Raises StoreUnavailable."""

    def __init__(self, objects: Objects, on_gone: Heed, clock: Clock) -> None:
        self._objects = objects
        self._on_gone = on_gone
        self._clock = clock
        self._told: set[str] = set()
        """Whose deletion is finished but for the last look: as many as tombstones stand."""

    async def row(self, tenant: str, digest: str) -> ImageRecord | None:
        """A tenant's own record; None when it does not have the image. One small read."""
        data = await self._objects.get(row_path(tenant, digest))
        try:
            return None if data is None else ImageRecord.decode(data)
        except ValueError:
            return None

    async def write(self, tenant: str, record: ImageRecord, blobs: dict[str, bytes]) -> None:
        """Store an image for a tenant: all that is shared first, the row when that is durable.

        The same work whether or not others have the image. Results that are kept stay.
        """
        folder = image_folder(record.digest)
        shared = {f"{folder}/{name}": data for name, data in blobs.items()}
        touch = [owner_path(tenant, record.digest)]
        if self._objects.appends:
            touch.append(f"{folder}/{RESULTS}")
        await self._objects.put_all(
            {**shared, f"{folder}/{META}": record.encode()}, touch=touch, durable=True
        )
        await self.write_row(tenant, record)

    async def write_row(self, tenant: str, record: ImageRecord) -> None:
        """Write a tenant's own record alone."""
        path = row_path(tenant, record.digest)
        await self._objects.put(path, record.encode(), durable=True)

    async def is_whole(self, tenant: str, record: ImageRecord) -> bool:
        """Whether all that belongs to a tenant's image is there, as its record says."""
        meta = await self._objects.get(meta_path(record.digest))
        try:
            if meta is None or ImageRecord.decode(meta).blobs != record.blobs:
                return False
        except ValueError:
            return False
        folder = image_folder(record.digest)
        *blobs, owned, results = await self._objects.sizes(
            [
                *(f"{folder}/{name}" for name in record.blobs),
                owner_path(tenant, record.digest),
                f"{folder}/{RESULTS}",
            ]
        )
        if blobs != [*record.blobs.values()] or owned is None:
            return False
        return results is not None or not self._objects.appends

    async def owners(self, digest: str) -> list[str]:
        """Who has an image: the back-references behind which there is a row.

        A row that cannot be read counts here: its next upload heals it.
        """
        names = await self._objects.names(image_folder(digest))
        tenants = [name.removeprefix(OWNED) for name in names if name.startswith(OWNED)]
        sizes = await self._objects.sizes([row_path(tenant, digest) for tenant in tenants])
        return [tenant for tenant, size in zip(tenants, sizes, strict=True) if size is not None]

    async def take(self, tenant: str, digest: str) -> None:
        """Take an image from a tenant, for good once this returns; `bury` does the rest.

        The tombstone comes first, so that what a crash leaves between any two steps is found.
        """
        await self._mark_if_there_is_room(digest)
        await self._objects.delete(row_path(tenant, digest), durable=True)

    async def mark(self, digest: str) -> None:
        """Set a tombstone: `bury` has to look at this image until it is finished."""
        self._told.discard(digest)
        now = self._clock().isoformat().encode()
        await self._objects.put(tombstone_path(digest), now, durable=True)

    async def _mark_if_there_is_room(self, digest: str) -> None:
        """A full store is emptied by deletions: `bury` makes room for the tombstone. Until then a
        crash leaves what the sweeper finds, within an hour."""
        with contextlib.suppress(StoreUnavailable):
            await self.mark(digest)

    async def bury(self, digest: str) -> bool:
        """Clear an image that nobody has, here and wherever else; True when it is finished.

        Finished is what somebody has again, or what has been gone for `GRACE`: then all is looked
        at a last time, for what came too late. Can be repeated at any time.
        """
        owners = await self.owners(digest)
        if owners:
            await self._clear_strays(digest, owners)
        else:
            age = await self._age(digest)
            old_enough = age is not None and age >= GRACE
            if digest in self._told and not old_enough:
                return False
            try:
                await self._objects.delete(meta_path(digest), durable=True)
                await self._objects.delete_folder(image_folder(digest))
                await self._on_gone(digest)
            finally:
                if age is None:
                    await self.mark(digest)
            self._told.add(digest)
            if not old_enough:
                return False
        await self._objects.delete(tombstone_path(digest))
        self._told.discard(digest)
        return True

    async def abandon(self, tenant: str, digest: str) -> None:
        """Clear what a first upload that failed has left, unless somebody else has the image."""
        await self._objects.delete(row_path(tenant, digest), durable=True)
        if not await self.owners(digest):
            await self._objects.delete_folder(image_folder(digest))

    async def tidy(self, digest: str, heir: str) -> bool:
        """Put right what is half there; whether anything was. See `ImageStore.tidy`."""
        owners = await self.owners(digest)
        if owners:
            return await self._clear_strays(digest, owners)
        orphan = await self._objects.get(meta_path(digest))
        with contextlib.suppress(ValueError):
            if orphan is not None and is_ownerless(orphan):
                await self.write(heir, ImageRecord.decode(orphan), {})
                return True
        await self._mark_if_there_is_room(digest)
        await self.bury(digest)
        return True

    async def _clear_strays(self, digest: str, owners: list[str]) -> bool:
        """Remove back-references behind which there is no row; whether there were any."""
        folder = image_folder(digest)
        names = {name for name in await self._objects.names(folder) if name.startswith(OWNED)}
        strays = names - {f"{OWNED}{tenant}" for tenant in owners}
        for name in strays:
            await self._objects.delete(f"{folder}/{name}")
        return bool(strays)

    async def _age(self, digest: str) -> timedelta | None:
        """How long a tombstone has stood; one that cannot be read begins to stand now."""
        data = await self._objects.get(tombstone_path(digest))
        if data is None:
            return None
        try:
            return self._clock() - datetime.fromisoformat(data.decode())
        except (ValueError, TypeError):
            await self.mark(digest)
            return timedelta()
