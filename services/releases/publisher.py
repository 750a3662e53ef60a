"""Releases are found before anybody can have heard of them, and a broken store holds nobody up."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from services.errors import VisionmeshError
from services.releases.registry import Registry
from services.releases.release import Release
from services.serving import deadline

PATIENCE_S: Final = 0.5
"""How long an answer waits for the release that it names to be written (a guess)."""

PAUSE_S: Final = 1.0
"""How long a store that failed, or took longer, is not written to by answers (a guess)."""

REMEMBERED: Final = 1_000
"""Releases that are kept in memory: some hundred bytes each."""

_log = structlog.get_logger()


class Publisher:
    """Writes each release once and finds it again."""

    def __init__(
        self,
        registry: Registry,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._patience_s = patience_s
        self._clock = clock
        self._known: OrderedDict[str, Release] = OrderedDict()
        self._published: set[str] = set()
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._paused_until: float | None = None

    async def publish(self, release: Release) -> None:
        """Return when a release is durable, or when that takes too long or fails.

        An answer is worth more than the name of its release: it is written at the next occasion.
        """
        if release.name in self._published:
            return
        self._remember(release)
        writing = self._writing.get(release.name)
        if self._paused_until is not None and self._clock() < self._paused_until:
            return
        if writing is None:
            # For everybody who names it: within nobody's deadline.
            writing = asyncio.create_task(self._write(release), context=contextvars.Context())
            self._writing[release.name] = writing
        patience_s = deadline.for_callees_s(self._patience_s)
        _, late = await asyncio.wait([writing], timeout=patience_s)
        if late and patience_s == self._patience_s:
            self._pause(release, "the object store is slow")

    async def find(self, name: str) -> Release:
        """A release by its name. Raises ReleaseNotFound, StoreUnavailable."""
        if release := self._known.get(name):
            self._known.move_to_end(name)
            return release
        release = await self._registry.find(name)
        self._remember(release)
        return release

    async def close(self) -> None:
        """Stop writing."""
        for task in (writing := list(self._writing.values())):
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

    async def _write(self, release: Release) -> None:
        try:
            await self._registry.publish(release)
        except VisionmeshError as error:
            self._pause(release, error.message)
        else:
            self._remember(release)
            self._published.add(release.name)
        finally:
            del self._writing[release.name]

    def _pause(self, release: Release, cause: str) -> None:
        _log.warning("release is not published", release=release.name, error=cause)
        self._paused_until = self._clock() + PAUSE_S

    def _remember(self, release: Release) -> None:
        self._known[release.name] = release
        self._known.move_to_end(release.name)
        if len(self._known) > REMEMBERED:
            name, _ = self._known.popitem(last=False)
            self._published.discard(name)
