"""What other services say about themselves, remembered for a moment."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import structlog

from services import errors
from services.errors import VisionmeshError
from services.serving import deadline

PATIENCE_S: Final = 0.25
"""How long a request waits for news when the last known answer would do (a guess)."""

LONGEST_S: Final = 2.0
"""How long a request waits for the very first answer: longer than a question may take (a guess)."""

FAILURE_TTL_S: Final = 0.1
"""How long who was never heard of is not asked again after it has failed (a guess)."""

T = TypeVar("T")

_log = structlog.get_logger()


class Remembered(Generic[T]):
    """The answer to one question, asked again when it is older than `ttl_s`.

    Many requests at once ask once. When the answer does not come, the last one stays: a service
    that is down does not change its version.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        ttl_s: float,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` must end by itself."""
        self._ask = ask
        self._ttl_s = ttl_s
        self._patience_s = patience_s
        self._clock = clock
        self._known: list[T] = []
        self._until: float | None = None
        self._error: VisionmeshError | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def last(self) -> T | None:
        """The last answer, however old; None before the first. Asks nobody."""
        return self._known[0] if self._known else None

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask, or a question is under way."""
        young = self._until is not None and self._clock() < self._until
        return self._asking is not None or not young

    async def current(self) -> T:
        """The answer, at most a moment old, or the last one, before the current deadline.

        Raises what asking raised, or DeadlineExceeded, when there was never an answer.
        """
        await self.refresh(self._patience_s if self._known else LONGEST_S)
        if self._known:
            return self._known[0]
        raise self._error or errors.DeadlineExceeded("the service did not answer in time")

    async def refresh(self, patience_s: float) -> None:
        """Ask when it is time to, and wait for the answer for at most `patience_s` seconds."""
        if not self.is_due:
            return
        if self._asking is None:
            # Asked for everybody: in nobody's trace and within nobody's deadline.
            self._asking = asyncio.create_task(self._refresh(), context=contextvars.Context())
        # A caller with less time leaves the question to the others.
        await asyncio.wait([self._asking], timeout=deadline.for_callees_s(patience_s))

    async def news(self) -> None:
        """Ask when it is time to; wait a little, but not for who did not answer the last time."""
        await self.refresh(0.0 if self._error else self._patience_s)

    def confirm(self) -> None:
        """The last answer is still right, as has just been heard otherwise."""
        self._until = self._clock() + self._ttl_s

    def doubt(self) -> None:
        """The last answer is not right any more: ask again at the next occasion."""
        self._until = None

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _refresh(self) -> None:
        try:
            self._known = [await self._ask()]
            self._error = None
        except VisionmeshError as error:
            self._error = error
            if self._known:
                _log.warning("not refreshed, the last answer stays", error=error.message)
        finally:
            # Also after a failure: what is down is not asked by every request.
            ttl_s = self._ttl_s if self._known else min(self._ttl_s, FAILURE_TTL_S)
            self._until = self._clock() + ttl_s
            self._asking = None
