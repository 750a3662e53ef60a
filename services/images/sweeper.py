"""Clears up behind uploads and deletions, and deletes what is older than its tenant keeps it.

Beside the requests, in one slice of the store at a time: one of 256, by the first two digits of the
digests. A round through all of them takes about an hour, whatever it finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import structlog

from services.errors import VisionmeshError
from services.images.retention import Retention
from services.media.folder import HALF
from services.media.layout import IMAGES, OWNED, OWNERS, TOMBSTONES
from services.media.objects import Objects
from services.media.ownership import Clock, utc_now
from services.media.store import ImageStore
from services.names import is_digest
from services.serving.tenancy import LOCAL

SLICES: Final = tuple(f"{number:02x}" for number in range(256))

INTERVAL_S: Final = 3600 / len(SLICES)
"""14 s: how long it rests between two slices, and how soon a tombstone is looked at again."""

HALF_AGE: Final = timedelta(hours=1)
"""No write takes so long: a half-written file of this age has lost its writer."""

OVERDUE: Final = timedelta(minutes=10)
"""When deletions wait longer for a part of the mesh that must be told, an operator should know."""

T = TypeVar("T")

_log = structlog.get_logger()


class Sweeper:
    """The owner of all housekeeping in the object store. A failure is tried again next time."""

    def __init__(
        self,
        store: ImageStore,
        objects: Objects,
        retention: Retention,
        *,
        interval_s: float = INTERVAL_S,
        clock: Clock = utc_now,
    ) -> None:
        self._store = store
        self._objects = objects
        self._retention = retention
        self._interval_s = interval_s
        self._clock = clock
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._overdue = 0

    async def start(self) -> None:
        """Take over a store from before images had owners, then begin to sweep.

        What cannot be read now is taken over by a later round.
        """
        await self._try(self._take_over())
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop after the image at hand."""
        self._stopped.set()
        if self._task is not None:
            await self._task

    @property
    def ailment(self) -> str | None:
        """What an operator should know."""
        if not self._overdue:
            return None
        return f"{self._overdue} deleted images could not be cleared everywhere yet"

    async def _take_over(self) -> None:
        if not await self._objects.folders(OWNERS):
            for digits in await self._objects.folders(IMAGES):
                await self.sweep(digits)

    async def _run(self) -> None:
        # Anywhere: a process that never lives for an hour gets everywhere in the end.
        first = random.randrange(len(SLICES))
        for digits in itertools.cycle(SLICES[first:] + SLICES[:first]):
            await self._try(self.finish_deletions())
            await self._try(self.sweep(digits))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._interval_s)
            if self._stopped.is_set():
                return

    async def finish_deletions(self) -> None:
        """Go on with every deletion that is not finished."""
        overdue = 0
        for digest, begun in (await self._objects.ages(TOMBSTONES)).items():
            if self._stopped.is_set():
                return
            if is_digest(digest) and not await self._try(self._store.finish(digest), digest):
                overdue += self._clock() - begun > OVERDUE
        self._overdue = overdue
        await self._clear_halves(TOMBSTONES)

    async def sweep(self, digits: str) -> None:
        """Look through one slice: what a crash left half-way, and what is too old."""
        images = await self._objects.tree(f"{IMAGES}/{digits}")
        # Listed after their back-references: a deletion in between gives a false alarm, which ends
        # when the image is looked at for itself, and an upload none.
        tenants = {tenant for names in images.values() for tenant in _owners(names)}
        rows = {
            tenant: await self._objects.ages(f"{OWNERS}/{tenant}/{digits}")
            for tenant in sorted(tenants)
        }
        for digest, names in images.items():
            if self._stopped.is_set():
                return
            owners = _owners(names)
            if not owners or any(digest not in rows[tenant] for tenant in owners):
                await self._try(self._tidy(digest), digest)
            if any(HALF in name for name in names):
                await self._clear_halves(f"{IMAGES}/{digits}/{digest}")
        for tenant, ages in rows.items():
            await self._expire(tenant, ages)
            if any(HALF in name for name in ages):
                await self._clear_halves(f"{OWNERS}/{tenant}/{digits}")

    async def _tidy(self, digest: str) -> None:
        if is_digest(digest) and await self._store.tidy(digest, LOCAL):
            _log.info("put right what was half-way", digest=digest)

    async def _expire(self, tenant: str, ages: dict[str, datetime]) -> None:
        """Delete a tenant's images that are older than it keeps them.

        The age of a row's file only says which rows to read, as reading every row of a cloud's
        store once an hour would cost money. No file is older than what its row says.
        """
        limit = self._retention.limit(tenant, self._clock())
        if limit is None:
            return
        for digest, written in ages.items():
            if self._stopped.is_set():
                return
            if written < limit and is_digest(digest):
                await self._try(self._store.expire(tenant, digest, limit), digest)

    async def _clear_halves(self, folder: str) -> None:
        await self._try(self._objects.clear_halves(folder, self._clock() - HALF_AGE))

    async def _try(self, work: Coroutine[Any, Any, T], digest: str = "") -> T | None:
        """Do one thing; when it fails, say so, and let the next have its turn."""
        try:
            return await work
        except VisionmeshError as error:
            _log.warning("housekeeping failed", digest=digest, reason=error.message)
        except Exception:
            _log.exception("housekeeping failed", digest=digest)
        return None


def _owners(names: list[str]) -> list[str]:
    """Who has an image, by its back-references."""
    return [name.removeprefix(OWNED) for name in names if name.startswith(OWNED)]
