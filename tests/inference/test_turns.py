"""Who is next."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from services.errors import Overloaded
from services.inference.turns import MAX_RETRY_AFTER_S, Slots, Turns, new_caller


def asked_by_one(turns: Turns[str], *things: str) -> None:
    """Put things into the queue for a caller of their own."""

    def put() -> None:
        new_caller()
        for thing in things:
            turns.put(thing)

    copy_context().run(put)


def test_callers_take_turns():
    """Each caller's things come in its order, and between two of them one of each other caller."""
    turns: Turns[str] = Turns()
    asked_by_one(turns, "a1", "a2", "a3", "a4")
    asked_by_one(turns, "b1")
    asked_by_one(turns, "c1", "c2")
    assert "".join(turns.take() for _ in range(7)) == "a1b1c1a2c2a3a4"
    assert len(turns) == 0


def test_who_comes_later_does_not_wait_for_what_was_there():
    """A caller that comes when another has had its turn is next but one at most."""
    turns: Turns[str] = Turns()
    asked_by_one(turns, *map(str, range(100)))
    turns.take()
    asked_by_one(turns, "late")
    assert "late" in [turns.take(), turns.take()]


def test_what_is_discarded_does_not_come():
    """Something that leaves makes room, and is not an error when it is not there."""
    turns: Turns[str] = Turns(2)
    asked_by_one(turns, "a1", "a2")
    turns.discard("a1")
    turns.discard("never there")
    asked_by_one(turns, "b1")
    assert [turns.take(), turns.take()] == ["a2", "b1"]


@pytest.mark.parametrize(("hint", "said"), [(0.0, 1.0), (7.5, 7.5), (1e9, MAX_RETRY_AFTER_S)])
def test_full_queue_refuses_with_a_hint(hint: float, said: float):
    """What is too much is refused, with a time to try again that is neither short nor absurd."""
    turns: Turns[str] = Turns(1, lambda: hint)
    turns.put("a1")
    with pytest.raises(Overloaded) as failure:
        turns.put("a2")
    assert failure.value.retry_after_s == said
    assert len(turns) == 1


async def turned() -> None:
    """Let everybody who can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_slots_are_passed_on():
    """No more than there are slots go on at a time, and who leaves lets the next one in."""
    slots, inside, leave = Slots(2), [], asyncio.Semaphore(0)

    async def visit(name: str) -> None:
        new_caller()
        async with slots:
            inside.append(name)
            await leave.acquire()

    visits = [asyncio.create_task(visit(name)) for name in "abcd"]
    await turned()
    assert inside == ["a", "b"]
    leave.release()
    await turned()
    assert inside == ["a", "b", "c"]
    for _ in range(3):
        leave.release()
    await asyncio.gather(*visits)
    async with slots, slots:
        pass  # both are free again


@pytest.mark.parametrize("given", [False, True], ids=["while it waits", "when it has been given"])
async def test_slot_of_one_that_leaves_is_not_lost(given: bool):
    """A cancelled caller takes no slot with it, not even one that it was given at that moment."""
    slots = Slots(1)
    await slots.__aenter__()

    async def visit() -> None:
        async with slots:
            raise AssertionError("it has left before")

    leaving = asyncio.create_task(visit())
    await turned()
    if given:
        await slots.__aexit__()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    if not given:
        await slots.__aexit__()
    async with asyncio.timeout(30), slots:
        pass
