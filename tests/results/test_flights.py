"""Single flight: made once, for whoever waits, and for nobody else."""

from __future__ import annotations

import asyncio

import pytest

from services import errors
from services.results.flights import Flights


class Work:
    """Something that takes until it is told to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        self.entered.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return self.begun


async def test_made_once_for_all():
    """Everybody who asks while it is being made gets the one result."""
    joined = 0

    def count() -> None:
        nonlocal joined
        joined += 1

    flights: Flights[str, int] = Flights(count)
    work = Work()
    waiters = [asyncio.create_task(flights.join("a", work)) for _ in range(50)]
    await work.entered.wait()
    work.go_on.set()
    assert await asyncio.gather(*waiters) == [1] * 50
    assert (work.begun, joined, len(flights)) == (1, 49, 0)


async def test_other_names_are_other_flights():
    """What is asked for under different names is made for each."""
    flights: Flights[str, int] = Flights()
    work = Work()
    work.go_on.set()
    made = await asyncio.gather(flights.join("a", work), flights.join("b", work))
    assert list(made) == [1, 2]


async def test_result_is_not_remembered():
    """Who asks after the end begins anew: remembering is the tiers' duty."""
    flights: Flights[str, int] = Flights()
    work = Work()
    work.go_on.set()
    assert [await flights.join("a", work), await flights.join("a", work)] == [1, 2]


async def test_failure_is_for_those_who_wait():
    """A failure reaches everybody who waits, and nobody who comes later."""
    flights: Flights[str, int] = Flights()
    work = Work()
    work.error = errors.ModelUnavailable("down")
    waiters = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    await work.entered.wait()
    work.go_on.set()
    failures = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(failure) for failure in failures] == [errors.ModelUnavailable] * 3
    work.error = None
    assert await flights.join("a", work) == 2


async def test_one_who_leaves_disturbs_nobody():
    """The first to ask may go: the flight is not theirs."""
    flights: Flights[str, int] = Flights()
    work = Work()
    first = asyncio.create_task(flights.join("a", work))
    await work.entered.wait()
    second = asyncio.create_task(flights.join("a", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go_on.set()
    assert await second == 1
    assert work.cancelled == 0


async def test_short_deadline_leaves_and_long_one_gets_the_answer():
    """A flight's deadline is that of its longest waiter."""
    flights: Flights[str, int] = Flights()
    work = Work()
    patient = asyncio.create_task(flights.join("a", work))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flights.join("a", work), 0.01)
    work.go_on.set()
    assert await patient == 1


async def test_last_one_leaving_cancels():
    """What nobody waits for is not made, and whoever comes next begins anew."""
    flights: Flights[str, int] = Flights()
    work = Work()
    waiters = [asyncio.create_task(flights.join("a", work)) for _ in range(2)]
    await work.entered.wait()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    work.go_on.set()
    assert await flights.join("a", work) == 2
    assert work.cancelled == 1


async def test_nobody_boards_what_is_ending():
    """A flight that was cancelled and takes its time to end is nobody's any more."""
    flights: Flights[str, int] = Flights()
    begun, out = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> int:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await out.wait()
        return 0

    leaving = asyncio.create_task(flights.join("a", slow_to_end))
    await begun.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    work = Work()
    work.go_on.set()
    assert await flights.join("a", work) == 1
    out.set()
    await flights.close()


async def test_close_waits_for_what_ends():
    """Closing cancels what is being made, and returns when it has ended."""
    flights: Flights[str, int] = Flights()
    work = Work()
    waiter = asyncio.create_task(flights.join("a", work))
    await work.entered.wait()
    await flights.close()
    assert (work.cancelled, len(flights)) == (1, 0)
    with pytest.raises(asyncio.CancelledError):
        await waiter
