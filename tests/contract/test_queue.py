"""Who is next when pictures wait for a model, over real gRPC: one suite for all model services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services import errors
from tests.contract.services import AT_ONCE, BATCH_SIZE, CONCURRENCY, SERVICES, ModelService
from tests.contract.world import World, black, picture, world_of

MANY = 100

BATCHING = tuple(service for service in SERVICES if service.batch_size == BATCH_SIZE)


@pytest.fixture(params=SERVICES, ids=lambda service: service.__name__)
def service(request: pytest.FixtureRequest) -> ModelService:
    adapter: ModelService = request.param()
    return adapter


@pytest.fixture
async def world(service: ModelService, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(service, tmp_path) as world:
        yield world


@asynccontextmanager
async def busy(world: World) -> AsyncIterator[None]:
    """As many black images as the model looks at at a time, and none of them ends before this."""
    world.hold = True
    dark = await world.stored(*(black((64 + number, 48)) for number in range(CONCURRENCY)))
    calls = [asyncio.create_task(world.ask(ref)) for ref in dark]
    await world.all_held.wait()
    yield
    world.release.set()
    for (answer,) in await asyncio.gather(*calls):
        assert answer.error is None


@pytest.mark.parametrize("service", BATCHING, indirect=True, ids=lambda kind: kind.__name__)
async def test_batch_call_makes_batches(world: World):
    """Of a call for many images an inference takes as many as it may, and each is seen once."""
    refs = await world.stored(*map(picture, range(MANY)))
    async with busy(world):
        call = asyncio.create_task(world.ask(*refs))
        await world.asked.until(CONCURRENCY + AT_ONCE)
    assert [answer.error for answer in await call] == [None] * MANY
    sizes = [len(batch) for batch in world.batches]
    assert sum(sizes) == CONCURRENCY + MANY
    assert max(sizes) == BATCH_SIZE
    assert len(sizes) < MANY / 2


async def test_single_call_does_not_wait_for_the_hundred(world: World):
    """A call for one image that comes behind a call for a hundred has its turn before them."""
    refs = await world.stored(*map(picture, range(MANY)))
    (lone,) = await world.stored(black((32, 32)))
    at_once = AT_ONCE if world.service.batch_size == BATCH_SIZE else 8
    async with busy(world):
        many = asyncio.create_task(world.ask(*refs))
        await world.asked.until(CONCURRENCY + at_once)
        single = asyncio.create_task(world.ask(lone))
        await world.asked.until(CONCURRENCY + at_once + 1)
    answers = [*await many, *await single]
    assert [answer.error for answer in answers] == [None] * (MANY + 1)
    # The held ones are looked at first, and then each caller has its turn.
    of_lone = next(place for place, batch in enumerate(world.batches[CONCURRENCY:]) if any(batch))
    assert of_lone < CONCURRENCY


async def test_too_much_is_refused_at_once(service: ModelService, tmp_path: Path):
    """Beyond what may wait an image is refused while the others wait, with a hint when to retry."""
    service.max_waiting = 2
    async with world_of(service, tmp_path) as world:
        refs = await world.stored(*map(picture, range(3)))
        async with busy(world):
            waiting = [asyncio.create_task(world.ask(ref)) for ref in refs[:2]]
            await world.asked.until(CONCURRENCY + 2)
            (refused,) = await world.ask(refs[2])
            assert type(refused.error) is errors.Overloaded
            assert refused.error.retry_after_s >= 1
            assert world.batches == []
        for (answer,) in await asyncio.gather(*waiting):
            assert answer.error is None
        assert [answer.error for answer in await world.ask(refs[2])] == [None]


async def test_who_is_late_in_the_queue_never_reaches_the_model(world: World):
    """What waits is forgotten when its caller has no time left; who waits beside is served."""
    refs = await world.stored(*map(picture, range(4)))
    async with busy(world):
        beside = asyncio.create_task(world.ask(*refs[2:]))
        await world.asked.until(CONCURRENCY + 2)
        late = await world.ask(*refs[:2], timeout_s=4)
    assert [type(answer.error) for answer in late] == [errors.DeadlineExceeded] * 2
    assert [answer.error for answer in await beside] == [None] * 2
    assert world.looked_at == CONCURRENCY + 2
