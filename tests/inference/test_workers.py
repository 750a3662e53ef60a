"""Threads that belong to one event loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from services.inference.workers import Workers, WorkersClosed


def name() -> str:
    return threading.current_thread().name


async def test_lone_jobs_stay_in_one_thread():
    """Jobs one after the other are done by the thread whose caches are warm."""
    workers = Workers(4, "work")
    barrier = threading.Barrier(4)
    await asyncio.gather(*(workers.run(lambda: barrier.wait(30)) for _ in range(4)))
    assert len({await workers.run(name) for _ in range(20)}) == 1
    await workers.close()


async def test_what_a_job_raises_is_raised():
    """Also what is no Exception, which must not end the thread."""

    def leave() -> None:
        raise SystemExit("a job's")

    workers = Workers(1, "work")
    with pytest.raises(SystemExit, match="a job's"):
        await workers.run(leave)
    assert await workers.run(lambda: 1) == 1
    await workers.close()


async def test_order_of_what_waits():
    """Jobs begin in the order in which they came."""
    workers, going = Workers(1, "work"), threading.Event()
    begun: list[int] = []
    first = asyncio.create_task(workers.run(lambda: going.wait(30)))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(workers.run(partial(begun.append, n))) for n in range(20)]
    await asyncio.sleep(0)
    going.set()
    await asyncio.gather(first, *rest)
    assert begun == [*range(20)]
    await workers.close()


async def test_closed_workers_take_nothing():
    """After closing there is no thread left, and a job is refused."""
    workers = Workers(2, "closing")
    await workers.run(name)
    await workers.close()
    await workers.close()
    with pytest.raises(WorkersClosed):
        await workers.run(name)
    assert not [t for t in threading.enumerate() if t.name.startswith("closing")]


async def test_caller_that_has_left_is_told_nothing():
    """A job that ends after its caller was cancelled disturbs nobody."""
    workers, begun, going = Workers(1, "work"), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        loop.call_soon_threadsafe(begun.set)
        going.wait(30)
        raise RuntimeError("too late")

    leaving = asyncio.create_task(workers.run(hold))
    await begun.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    going.set()
    assert await workers.run(lambda: 1) == 1
    await workers.close()
