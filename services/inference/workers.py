"""Threads that do what must not be done on the event loop, one job each at a time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class WorkersClosed(Exception):
    """The job was dropped, as its workers have been closed."""


class _Job(Generic[T]):
    __slots__ = ("call", "future", "loop")

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.loop = loop
        self.future: asyncio.Future[T] = loop.create_future()

    def run(self) -> Callable[[], None]:
        """Do it; returns what settles the future, on its loop."""
        if self.future.cancelled():
            return lambda: None
        try:
            return partial(self._settle, self.future.set_result, self.call())
        except BaseException as error:
            return partial(self._settle, self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], value: Any) -> None:
        if not self.future.done():  # a caller that has left is told nothing
            settle(value)


class Workers:
    """Up to `count` threads; a job goes to the one that has worked last.

    Its core's caches hold what it works with, and a lone caller's jobs stay in one place. A job
    costs half of what a ThreadPoolExecutor's does on the event loop, which makes a future of each
    kind with a condition and a lock. What waits, waits in order. Belongs to one event loop.
    """

    def __init__(
        self, count: int, name: str, used: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """`used` is told what each job took of its core, in its thread."""
        self._count: Final = count
        self._name = name
        self._used = used
        self._lock = threading.Lock()
        self._queue: deque[_Job[Any]] = deque()
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        return len(self._queue)

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises. A caller that is cancelled leaves at once, and takes a job
        with it that has not begun. Raises WorkersClosed."""
        job = _Job(call, asyncio.get_running_loop())
        with self._lock:
            if self._closed:
                raise WorkersClosed
            if self._idle:
                self._idle.pop().take(job)
            elif len(self._all) < self._count:
                worker = _Worker(self._next, f"{self._name}_{len(self._all)}", self._used)
                self._all.append(worker)
                worker.take(job)
                worker.thread.start()
            else:
                self._queue.append(job)
        return await job.future

    async def close(self) -> None:
        """Finish what runs and drop what waits. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            waiting, self._queue = self._queue, deque()
            while self._idle:
                self._idle.pop().take(None)
        for job in waiting:
            if not job.future.done():
                job.future.set_exception(WorkersClosed())
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for worker in self._all:
            worker.thread.join()

    def _next(self, worker: _Worker) -> None:
        """Give a worker that has finished what comes next, if not now then later."""
        with self._lock:
            if self._queue:
                worker.take(self._queue.popleft())
            elif self._closed:
                worker.take(None)
            else:
                self._idle.append(worker)


class _Worker:
    """One thread, which is given its jobs."""

    def __init__(
        self, finished: Callable[[_Worker], None], name: str, used: Callable[[float], None]
    ) -> None:
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._finished = finished
        self._used = used
        self._job: _Job[Any] | None = None
        self._given = threading.Lock()
        self._given.acquire()

    def take(self, job: _Job[Any] | None) -> None:
        """The next job; None is the end."""
        self._job = job
        self._given.release()

    def _work(self) -> None:
        while True:
            self._given.acquire()
            job, self._job = self._job, None
            if job is None:
                return
            began = time.thread_time()
            settle, loop = job.run(), job.loop
            self._used(time.thread_time() - began)
            # First, so that who is told finds this thread free.
            self._finished(self)
            # The loop may have been closed: nobody waits then.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle)
            del job, settle, loop  # while it waits, a worker keeps nothing alive
