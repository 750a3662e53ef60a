"""Remembering what other services say about themselves."""

from __future__ import annotations

import asyncio

import pytest

from services.errors import DeadlineExceeded, Unavailable
from services.releases.remembered import FAILURE_TTL_S, Remembered
from services.serving import deadline


class Source:
    """A service that says `value`, fails with `error`, or hangs until `open` is set."""

    def __init__(self) -> None:
        self.value = "one"
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self.arrived = asyncio.Event()
        self.remaining_s: list[float | None] = []
        self.now = 100.0

    async def __call__(self) -> str:
        self.asked += 1
        self.arrived.set()
        self.remaining_s.append(deadline.remaining_s())
        await self.open.wait()
        if self.error:
            raise self.error
        return self.value

    def clock(self) -> float:
        return self.now


def remembered(source: Source, patience_s: float = 0.05) -> Remembered[str]:
    return Remembered(source, 2.0, patience_s=patience_s, clock=source.clock)


async def test_asks_again_when_it_is_old():
    """A young answer is given without asking, an old one is asked for again."""
    source = Source()
    answer = remembered(source)
    assert [await answer.current() for _ in range(3)] == ["one"] * 3
    assert source.asked == 1
    source.value, source.now = "two", 102.0
    assert await answer.current() == "two"
    assert source.asked == 2


async def test_many_ask_once():
    """Requests at the same time share one question."""
    source = Source()
    answer = remembered(source)
    assert await asyncio.gather(*(answer.current() for _ in range(20))) == ["one"] * 20
    assert source.asked == 1


async def test_last_answer_stays():
    """While the service is down, its last answer stays, and it is not asked by every request."""
    source = Source()
    answer = remembered(source)
    await answer.current()
    source.error, source.now = Unavailable("down"), 102.0
    assert [await answer.current() for _ in range(3)] == ["one"] * 3
    assert source.asked == 2
    source.error, source.value, source.now = None, "two", 104.0
    assert await answer.current() == "two"


async def test_hanging_service_costs_only_patience():
    """While the service hangs, its last answer is given after a moment."""
    source = Source()
    answer = remembered(source)
    await answer.current()
    source.open.clear()
    source.now = 102.0
    assert await asyncio.wait_for(answer.current(), 10) == "one"
    await answer.close()


async def test_nothing_to_remember():
    """Without any answer the error is raised; after a moment it is asked again."""
    source = Source()
    source.error = Unavailable("down")
    answer = remembered(source)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await answer.current()
    assert source.asked == 1
    source.error = None
    source.now += FAILURE_TTL_S
    assert await answer.current() == "one"


async def test_news_are_not_awaited_from_who_is_down():
    """Who did not answer the last time is asked again, and nobody waits for it."""
    source = Source()
    answer = remembered(source, patience_s=60.0)
    await answer.current()
    source.error, source.now = Unavailable("down"), 102.0
    await answer.news()
    source.error, source.now = None, 104.0
    source.open.clear()
    await asyncio.wait_for(answer.news(), 10)
    assert answer.is_due
    await answer.close()
    assert source.asked == 3


async def test_confirmed_and_doubted():
    """What was heard otherwise makes an answer young again, or old."""
    source = Source()
    answer = remembered(source)
    await answer.current()
    source.now = 101.9
    answer.confirm()
    source.now = 103.0
    await answer.current()
    assert source.asked == 1
    answer.doubt()
    await answer.current()
    assert source.asked == 2


async def test_waits_within_its_own_deadline():
    """A caller with little time gets an error in time, and the question goes on for others."""
    source = Source()
    source.open.clear()
    answer = remembered(source)
    patient = asyncio.create_task(answer.current())
    await source.arrived.wait()
    with deadline.limit(0.05), pytest.raises(DeadlineExceeded):
        await answer.current()
    assert not patient.done()
    source.open.set()
    assert await patient == "one"
    assert source.asked == 1


async def test_leaving_asker_does_not_disturb_the_others():
    """A request that is cancelled or out of time does not cancel the question of the others."""
    source = Source()
    source.open.clear()
    answer = remembered(source)
    with deadline.limit(0.5):
        first = asyncio.create_task(answer.current())
    second = asyncio.create_task(answer.current())
    await source.arrived.wait()
    first.cancel()
    source.open.set()
    assert await second == "one"
    assert source.asked == 1
    assert source.remaining_s == [None], "asked within nobody's deadline"
