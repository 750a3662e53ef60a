"""How a process ends: it says so, goes on for a moment, finishes what it has begun, and is gone.

On SIGTERM it says to everybody who asks for its health that it does not serve any more, and serves
on: for as long as it may take until nobody sends it anything new. A second signal cuts that short,
and SIGINT leaves it out: for who has seen to it already, or stops everything.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Self

import structlog

from services.limits import DEFAULT_BATCH_TIMEOUT_S

LAME_DUCK_S: Final = 2.0
"""Envoy asks for health every second, and acts at once upon an answer."""

GRACE_S: Final = DEFAULT_BATCH_TIMEOUT_S
"""How long what is in flight may go on then: nothing has a longer deadline."""

Heed = Callable[[], Awaitable[None]]

_log = structlog.get_logger()


class Ending:
    """The end of one process, for all who must know of it."""

    def __init__(self, lame_duck_s: float = LAME_DUCK_S) -> None:
        """`lame_duck_s` is how long it serves on after it has said that it does not."""
        self._lame_duck_s = lame_duck_s
        self._heeds: list[Heed] = []
        self._asked = asyncio.Event()
        self._at_once = asyncio.Event()
        self.begun = False
        """Whether nobody should send anything new."""

    @classmethod
    def by_signals(cls, lame_duck_s: float) -> Self:
        """The end of the process that runs this loop, which signals ask for from now on."""
        ending = cls(lame_duck_s)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending._ask, number)
        return ending

    def tell(self, heed: Heed) -> None:
        """Call `heed` when the end begins."""
        self._heeds.append(heed)

    async def wait(self) -> None:
        """Wait until it is asked for, and for what has to be waited for then."""
        await self._asked.wait()
        _log.info("draining")
        await self.begin()

    async def begin(self) -> None:
        """Say that it ends, and serve on for a while."""
        self.begun = True
        for heed in self._heeds:
            await heed()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._at_once.wait(), self._lame_duck_s)

    def _ask(self, number: signal.Signals) -> None:
        if number == signal.SIGINT or self._asked.is_set():
            self._at_once.set()
        self._asked.set()
