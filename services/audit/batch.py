"""What is recorded in one turn of the event loop, and who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Callable, Collection, Sequence

from services.audit.entry import Entry
from services.errors import AuditUnavailable


class Batch:
    """Entries on their way to a thread. `entries` and `wanted` are read there, `release` called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.entries: list[Entry] = []
        self._loop = loop
        self._waiters: list[tuple[asyncio.Future[None], Sequence[Entry]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Entries, and what to wait for."""
        waiter = self._loop.create_future()
        self.entries += entries
        self._waiters.append((waiter, entries))
        return waiter

    @property
    def wanted(self) -> list[Entry]:
        """The entries of those who still wait."""
        return [entry for waiter, found in self._waiters if not waiter.done() for entry in found]

    def release(self, failure: str | None = None, refused: Collection[Entry] = ()) -> None:
        """Nobody waits any longer; all raise AuditUnavailable where it failed. From any thread.

        Whoever waits for an entry in `refused` does so in any case.
        """
        with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody with it
            self._loop.call_soon_threadsafe(self._resolve, failure, refused)

    def release_after(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._resolve, None, ())

    def _resolve(self, failure: str | None, refused: Collection[Entry]) -> None:
        if self._timer:
            self._timer.cancel()
        for waiter, entries in self._waiters:
            if waiter.done():
                continue
            if failure is not None:
                waiter.set_exception(AuditUnavailable(failure))
            elif any(entry in refused for entry in entries):
                waiter.set_exception(AuditUnavailable("the audit log does not take this verdict"))
            else:
                waiter.set_result(None)


class Inbox:
    """From the event loop to one thread: all of one turn is one batch."""

    def __init__(self, handed_over: Callable[[Batch], None] | None = None) -> None:
        """`handed_over` is called, in the loop, with each batch that the thread gets."""
        self._handed_over = handed_over
        self._batch: Batch | None = None
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._added = 0  # by the event loop
        self._taken = 0  # by the thread
        self.closed = False

    @property
    def waiting(self) -> int:
        """Entries that the thread has not come to."""
        return self._added - self._taken

    def add(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Entries, and what to wait for. In the event loop."""
        if self._batch is None:
            loop = asyncio.get_running_loop()
            self._batch = Batch(loop)
            loop.call_soon(self._hand_over, self._batch)
        self._added += len(entries)
        return self._batch.add(entries)

    def take(self, timeout_s: float | None) -> list[Batch]:
        """All batches that are there, waiting for a first one. In the thread."""
        found: list[Batch | None] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._queue.get(timeout=timeout_s))
            while True:
                found.append(self._queue.get_nowait())
        self.closed |= None in found
        batches = [batch for batch in found if batch]
        self._taken += sum(len(batch.entries) for batch in batches)
        return batches

    def close(self) -> None:
        """`take` gives what there is, and `closed` is true then."""
        self._queue.put(None)

    def _hand_over(self, batch: Batch) -> None:
        self._batch = None
        if self._handed_over:
            self._handed_over(batch)
        self._queue.put(batch)
