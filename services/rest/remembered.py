"""What other services say about themselves, remembered for a moment."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import structlog

from services.errors import VisionmeshError

PATIENCE_S: Final = 0.25
"""How long a request waits for news when the last known value would do (a guess)."""

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
        self._ask = ask
        self._ttl_s = ttl_s
        self._patience_s = patience_s
        self._clock = clock
        self._known: list[T] = []
        self._until = 0.0
        self._asking: asyncio.Task[VisionmeshError | None] | None = None

    async def current(self) -> T:
        """The answer, at most a moment old, or the last one. Raises what asking raised if none."""
        if self._known and self._clock() < self._until:
            return self._known[0]
        if self._asking is None:
            # Asked for everybody: in nobody's trace and within nobody's deadline.
            self._asking = asyncio.create_task(self._refresh(), context=contextvars.Context())
        asking = self._asking
        await asyncio.wait([asking], timeout=self._patience_s if self._known else None)
        if self._known:
            return self._known[0]
        error = asking.result()
        assert error is not None
        raise error

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _refresh(self) -> VisionmeshError | None:
        try:
            self._known = [await self._ask()]
        except VisionmeshError as error:
            if self._known:
                _log.warning("not refreshed, the last answer stays", error=error.message)
            return error
        finally:
            # Also after a failure: what is down is not asked by every request.
            self._until = self._clock() + self._ttl_s
            self._asking = None
        return None
