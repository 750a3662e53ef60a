"""The durable tier: results in the object store, beside the image that they are about.

They are in its folder, so that they go when the image goes. Nothing is synced: a result can be made
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from services.media.layout import RESULTS, image_folder, meta_path
from services.media.objects import Objects
from services.results.envelope import Value, unwrap, wrap
from services.results.frames import envelopes, frame
from services.results.keys import ResultKey

COLLECT_S: Final = 0.05
"""How soon after an append the next one may begin; what is made meanwhile is appended together. A
thread's hop costs the event loop 0.1 ms, the appending itself 0.05, and nobody waits for either."""

Check = Callable[[bytes], None]
"""Raises ValueError for bytes that are no result of the model."""


class DurableTier(Protocol):
    """Results that survive every process. Both methods raise StoreUnavailable."""

    near: ClassVar[bool]
    """Whether asking costs less than asking Redis: microseconds, not a round trip."""

    async def get(self, key: ResultKey, check: Check) -> Value | None:
        """A stored result, None when there is none that is whole."""
        ...

    async def put(self, key: ResultKey, value: Value) -> None:
        """Keep a result, unless its image is gone: then nothing is left of it."""
        ...


def durable_tier(objects: Objects) -> DurableTier:
    """The form that suits a store."""
    return AppendedResults(objects) if objects.appends else SingleResults(objects)


class AppendedResults:
    """All results of an image in one file that its upload made: for a folder on a disk.

    A file that is opened and never made costs a third of a new one, and what comes late finds no
    file of a deleted image to write into (docs/decisions/results-tiers.md). At once after a
    pause, else together with what is made within `COLLECT_S`.
    """

    near: ClassVar[bool] = True

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._pieces: list[tuple[str, bytes]] = []
        self._writing: asyncio.Task[None] | None = None
        self._next_at = 0.0

    async def get(self, key: ResultKey, check: Check) -> Value | None:
        data = await self._objects.get(results_path(key.digest))
        if not data:
            return None
        for envelope in envelopes(key, data):
            if (value := intact(key, envelope, check)) is not None:
                return value
        return None

    async def put(self, key: ResultKey, value: Value) -> None:
        self._pieces.append((results_path(key.digest), frame(key, wrap(key, value))))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(self._writing)

    async def _write(self) -> None:
        """On behalf of all who wait for it. What comes from now on has a write of its own."""
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, self._next_at - clock()))
        self._next_at = clock() + COLLECT_S
        pieces, self._pieces, self._writing = self._pieces, [], None
        await self._objects.append_all(pieces)


class SingleResults:
    """One object a result: for clouds, which cannot append."""

    near: ClassVar[bool] = False

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, key: ResultKey, check: Check) -> Value | None:
        data = await self._objects.get(result_path(key))
        return None if data is None else intact(key, data, check)

    async def put(self, key: ResultKey, value: Value) -> None:
        """Looked at before, so that nothing is written in vain, and after, so that nothing is left
        of what a deletion overtook."""
        meta = meta_path(key.digest)
        if not await self._objects.exists(meta):
            return
        await self._objects.put(result_path(key), wrap(key, value))
        if not await self._objects.exists(meta):
            await self._objects.delete(result_path(key))


def results_path(digest: str) -> str:
    """The file of all results of an image."""
    return f"{image_folder(digest)}/{RESULTS}"


def result_path(key: ResultKey) -> str:
    """The object of one result."""
    return f"{image_folder(key.digest)}/result.{key.model}.{key.version}"


def intact(key: ResultKey, envelope: bytes, check: Check) -> Value | None:
    """The value of an envelope; None when it is garbage, of whatever kind."""
    try:
        value = unwrap(key, envelope)
        if isinstance(value, bytes):
            check(value)
    except ValueError:
        return None
    return value
