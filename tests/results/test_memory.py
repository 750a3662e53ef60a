"""The nearest tier: bounded by bytes, and by the time since somebody asked."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from services import errors
from services.results.keys import ResultKey
from services.results.memory import SWEEP_S, TTL_S, MemoryTier

DELETED_WITHIN_S = 60


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def key(number: int, model: str = "nsfw") -> ResultKey:
    return ResultKey(f"{number:064x}", model, "0123456789abcdef")


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_least_recently_used_leaves_first(clock: Clock):
    """When the bound is reached, the image that was asked for longest ago makes room."""
    memory = MemoryTier(5_000, clock=clock)
    for number in (1, 2, 3):
        memory.put(key(number), b"x")
    assert memory.get(key(1)) == b"x"
    memory.put(key(4), b"x")
    assert [number for number in (1, 2, 3, 4) if memory.get(key(number))] == [1, 3, 4]
    memory.close()


async def test_bound_holds_for_real_memory():
    """What Python really allocates stays within the bound, for the smallest results too."""
    bound = 4_000_000
    memory = MemoryTier(bound)
    tracemalloc.start()
    try:
        for number in range(2_000):
            memory.put(key(number), b"%9d" % number)
            memory.put(key(number, "ocr"), b"%9d" % number)
        assert memory.bytes > bound * 0.9  # several images of each were put out
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bound / 3 < grown < bound
    memory.close()


async def test_bytes_are_counted_as_they_come_and_go():
    """Replacing, forgetting and evicting leave the count at what is really there."""
    memory = MemoryTier()
    memory.put(key(1), b"small")
    small = memory.bytes
    memory.put(key(1), b"x" * 1_000)
    assert memory.bytes == small + 995
    memory.put(key(1), b"small")
    assert memory.bytes == small
    memory.put(key(1, "ocr"), errors.CorruptImage("no"))
    memory.forget(key(1).digest)
    assert (memory.bytes, len(memory)) == (0, 0)
    memory.close()


async def test_bigger_than_the_bound_is_not_kept():
    """A result that fits nowhere puts nothing else out."""
    memory = MemoryTier(10_000)
    memory.put(key(1), b"x")
    memory.put(key(2), bytes(10_000))
    assert memory.get(key(1)) == b"x"
    assert memory.get(key(2)) is None
    memory.close()


async def test_nobody_asking_is_forgetting(clock: Clock):
    """A result stays while somebody asks for it, and ends its time after the last one did."""
    memory = MemoryTier(clock=clock)
    memory.put(key(1), b"asked")
    memory.put(key(2), b"not asked")
    clock.now += TTL_S - 1
    assert memory.get(key(1)) == b"asked"
    clock.now += 1
    memory.expire()
    assert len(memory) == 1
    assert memory.get(key(2)) is None
    clock.now += TTL_S
    assert memory.get(key(1)) is None
    assert memory.bytes == 0
    memory.close()


def test_deletion_is_over_within_a_minute():
    """What a deleted image leaves in memory is gone before the minute that is promised."""
    assert TTL_S + SWEEP_S < DELETED_WITHIN_S


async def test_memory_is_freed_though_nobody_comes():
    """What has expired is let go of by itself: nobody has to ask for anything."""
    memory = MemoryTier(ttl_s=0.01, sweep_s=0.01)
    memory.put(key(1), b"x")

    async def empty() -> None:
        while len(memory):  # noqa: ASYNC110 -- nobody says when
            await asyncio.sleep(0.001)

    await asyncio.wait_for(empty(), 30)
    assert memory.bytes == 0
    memory.close()


async def test_closed_tier_leaves_nothing_running():
    """Closing forgets everything and cancels the timer."""
    memory = MemoryTier(ttl_s=0.0, sweep_s=0.0)
    memory.put(key(1), b"x")
    memory.close()
    assert (memory.bytes, len(memory)) == (0, 0)
    assert memory._timer is None
