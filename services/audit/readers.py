"""Threads for reading: neither a caller nor the process's end waits for one that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from services.errors import AuditUnavailable
from services.serving import deadline

READERS: Final = 4
"""Reads at the same time (a guess)."""

PATIENCE_S: Final = 5.0
"""How long a caller waits: about what PostgreSQL may take for a statement."""

CLOSE_S: Final = 1.0
"""How long the end of the process waits for calls that nobody waits for any longer (a guess)."""

T = TypeVar("T")


class Readers:
    """A few threads of its own. The event loop's are for what is sure to end."""

    def __init__(self, count: int = READERS) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` gives in a thread. Raises what it raises, and AuditUnavailable when late.

        A call that its caller does not wait for any longer keeps its place until it ends.
        """
        try:
            async with asyncio.timeout(deadline.for_callees_s(PATIENCE_S)):
                await self._free.acquire()
                return await self._begin(call)
        except TimeoutError:
            raise AuditUnavailable("the audit log does not answer") from None

    async def close(self) -> None:
        """Wait until all calls have ended, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                for _ in range(self._count):
                    await self._free.acquire()

    def _begin(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def end(settle: Callable[[], None]) -> None:
            self._free.release()
            if not future.done():
                settle()

        def work() -> None:
            try:
                settle = partial(future.set_result, call())
            except Exception as error:
                settle = partial(future.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody with it
                loop.call_soon_threadsafe(end, settle)

        try:
            threading.Thread(target=work, name="audit-read", daemon=True).start()
        except RuntimeError:  # no more threads
            self._free.release()
            raise
        return future
