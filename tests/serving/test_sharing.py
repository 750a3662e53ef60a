"""What the data plane makes once for many, and what it keeps apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services import errors
from services.media.objects import Objects
from services.media.record import ImageRecord
from services.media.store import ImageStore
from services.results.keys import ResultKey
from services.serving import deadline
from tests.serving.world import World, inline
from tests.support.photos import jpeg
from tests.support.redis import RedisServer, redis_server


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with redis_server() as server:
        yield server


@pytest.fixture
async def replicas(tmp_path: Path, redis: RedisServer) -> AsyncIterator[tuple[World, World]]:
    """Two replicas over one Redis and one folder."""
    async with AsyncExitStack() as ended:
        worlds = (
            World(Objects.open(tmp_path), redis.url),
            World(Objects.open(tmp_path), redis.url),
        )
        for world in worlds:
            ended.push_async_callback(world.close)
        yield worlds


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(Objects.open(tmp_path))
    yield world
    await world.close()


def key_of(world: World, digest: str) -> ResultKey:
    return ResultKey(digest, world.model.name, world.model.version)


async def test_one_inference_for_two_replicas(replicas: tuple[World, World]):
    """Fifty calls at each of two replicas for one image cost one inference."""
    ref = await replicas[0].photo()
    calls = [world.look(ref) for world in replicas for _ in range(50)]
    answers = await asyncio.gather(*calls)
    assert len({outcome.encoded for (outcome,) in answers}) == 1
    assert [outcome.error for (outcome,) in answers] == [None] * 100
    assert sum(world.model.calls for world in replicas) == 1
    assert sum(world.diagnostics.counters["inferences"] for world in replicas) == 1


async def test_overlapping_batches(replicas: tuple[World, World]):
    """Batches that share images, at two replicas, cost one inference for each image."""
    refs = [await replicas[0].photo(seed) for seed in range(20)]
    calls = [replicas[number % 2].look(*refs[number : number + 10]) for number in range(10)]
    answers = await asyncio.gather(*calls)
    for number, outcomes in enumerate(answers):
        assert [outcome.digest for outcome in outcomes] == [
            ref.digest for ref in refs[number : number + 10]
        ]
        assert [outcome.error for outcome in outcomes] == [None] * 10
    assert sum(world.model.calls for world in replicas) == 19


async def test_deleted_during_a_flight_leaves_nothing(
    replicas: tuple[World, World], redis: RedisServer
):
    """An image that is deleted while it is looked at leaves nothing in memory, Redis or folder."""
    one, other = replicas
    ref = await one.photo()
    one.model.hold = asyncio.Event()
    call = asyncio.create_task(one.look(ref))
    await one.model.entered.wait()
    await other.images.delete("acme", ref.digest)
    await other.results.forget(ref.digest)
    one.model.hold.set()
    (outcome,) = await call
    assert isinstance(outcome.error, errors.ImageNotFound)
    await one.results.settle()
    assert one.results.remembered(key_of(one, ref.digest)) is None
    assert [key for key in await redis.keys() if ":gone:" not in key] == []
    assert await one.objects.list("images") == []


async def test_uploaded_again_after_a_deletion(tmp_path: Path, redis: RedisServer):
    """Deleted and soon uploaded again, an image is looked at once, and its result is shared."""
    cloud = Objects.open("memory:///")
    one, other = World(cloud, redis.url), World(cloud, redis.url)
    one.images = ImageStore(cloud, on_gone=one.results.forget, on_kept=one.results.admit)
    ref = await one.photo()
    await one.images.delete("acme", ref.digest)
    await one.photo()
    answers = await asyncio.gather(*(world.look(ref) for world in (one, other) for _ in range(10)))
    assert [outcome.error for (outcome,) in answers] == [None] * 20
    assert one.model.calls + other.model.calls == 1
    await one.results.settle()
    assert [key.split(":")[1] for key in await redis.keys()] == ["results"]
    for world in (one, other):
        await world.close()


async def test_flight_from_before_an_upload(world: World, monkeypatch: pytest.MonkeyPatch):
    """Who uploads and joins a flight that found the image deleted is not told that it is gone."""
    ref = await world.photo()
    missed, going = asyncio.Event(), asyncio.Event()

    async def slow(record: ImageRecord) -> bytes:
        try:
            return await world.images.rendition(record)
        except errors.ImageNotFound:
            missed.set()
            await going.wait()  # the answer of a store that is far away
            raise

    record = await world.images.get("acme", ref.digest)
    await world.images.delete("acme", ref.digest)
    monkeypatch.setattr(world.images, "rendition_for_thread", slow)
    # Its owner was looked up just before the deletion.
    lookups = iter((record,))
    found = world.images.get

    async def late(tenant: str, digest: str) -> ImageRecord:
        return next(lookups, None) or await found(tenant, digest)

    monkeypatch.setattr(world.images, "get", late)
    first = asyncio.create_task(world.look(ref))
    await missed.wait()
    await world.photo(tenant="globex")
    second = asyncio.create_task(world.look(ref, tenant="globex"))
    while not world.diagnostics.counters["flights.joined"]:  # noqa: ASYNC110 -- a counter
        await asyncio.sleep(0)
    going.set()
    (gone,), (there,) = await first, await second
    assert isinstance(gone.error, errors.ImageNotFound)
    assert there.encoded is not None


async def test_deleted_by_one_during_a_flight_for_two(world: World):
    """Who deletes an image while it is looked at is not answered; who still has it is."""
    ref = await world.photo()
    await world.photo(tenant="globex")
    world.model.hold = asyncio.Event()
    leaving = asyncio.create_task(world.look(ref))
    await world.model.entered.wait()
    staying = asyncio.create_task(world.look(ref, tenant="globex"))
    await world.images.delete("acme", ref.digest)
    world.model.hold.set()
    (gone,), (there,) = await leaving, await staying
    assert isinstance(gone.error, errors.ImageNotFound)
    assert there.encoded is not None
    assert world.model.calls == 1


async def test_result_in_memory_is_for_owners(world: World):
    """A result that is known is told to nobody who does not have the image."""
    ref = await world.photo()
    await world.look(ref)
    (outcome,) = await world.look(ref, tenant="globex")
    assert isinstance(outcome.error, errors.ImageNotFound)
    await world.photo(tenant="globex")
    (outcome,) = await world.look(ref, tenant="globex")
    assert outcome.encoded is not None
    assert world.model.calls == 1


async def test_inline_bytes_tell_nothing_of_others(world: World):
    """Bytes that a tenant does not keep are looked at anew, whatever others have stored."""
    ref = inline(jpeg(320, 240))
    assert ref.digest == (await world.photo()).digest
    (stored,) = await world.look(ref)
    (visiting,) = await world.look(ref, tenant="globex")
    (again,) = await world.look(ref, tenant="globex")
    assert visiting.encoded == again.encoded == stored.encoded
    assert world.model.calls == 3


async def test_inline_bytes_at_once_are_looked_at_once_a_tenant(world: World):
    """One tenant's calls with the same bytes share an inference, and not with another's."""
    ref = inline(jpeg(320, 240))
    world.model.hold = asyncio.Event()
    calls = [
        asyncio.create_task(world.look(ref, tenant=tenant))
        for tenant in ("acme", "globex")
        for _ in range(5)
    ]
    while world.model.calls < 2:  # noqa: ASYNC110 -- a counter
        await asyncio.sleep(0)
    world.model.hold.set()
    answers = await asyncio.gather(*calls)
    assert len({outcome.encoded for (outcome,) in answers}) == 1
    assert world.model.calls == 2


async def test_call_for_nobody_is_refused(world: World):
    """Without a tenant nothing is looked at."""
    with pytest.raises(errors.Unauthenticated):
        await world.look(await world.photo(), tenant="")


async def test_failing_image_is_looked_at_once(world: World):
    """What a model says against an image for ever is kept like a result."""
    ref = await world.photo()
    world.model.fail = lambda data: errors.CorruptImage("cannot be decoded", field="data")
    for _ in range(2):
        (outcome,) = await world.look(ref)
        assert isinstance(outcome.error, errors.CorruptImage)
        assert (outcome.width, outcome.height) == (320, 240)
    assert world.model.calls == 1


async def test_one_caller_leaves_the_others_stay(world: World):
    """The call that began an inference may go; those beside it get the result."""
    ref = await world.photo()
    world.model.hold = asyncio.Event()
    first = asyncio.create_task(world.look(ref))
    await world.model.entered.wait()
    second = asyncio.create_task(world.look(ref))
    while not world.diagnostics.counters["flights.joined"]:  # noqa: ASYNC110 -- a counter
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    world.model.hold.set()
    (outcome,) = await second
    assert outcome.encoded is not None
    assert world.model.calls == 1


async def test_short_deadline_beside_a_long_one(world: World):
    """Who has little time hears so in time, and who has more gets the result of the same look."""
    ref = await world.photo()
    world.model.hold = asyncio.Event()

    async def in_time(timeout_s: float) -> bytes | Exception | None:
        with deadline.limit(timeout_s):
            (outcome,) = await world.look(ref)
            return outcome.encoded or outcome.error

    hasty = asyncio.create_task(in_time(0.1))
    await world.model.entered.wait()
    patient = asyncio.create_task(in_time(60))
    assert isinstance(await hasty, errors.DeadlineExceeded)
    world.model.hold.set()
    assert isinstance(await patient, bytes)
    assert world.model.calls == 1


async def test_flight_has_nobodys_deadline(world: World):
    """The model works for whoever waits: it does not see the deadline of who came first."""
    seen: list[float | None] = []
    world.model.fail = lambda data: seen.append(deadline.remaining_s())
    with deadline.limit(60):
        await world.look(await world.photo())
        await world.look(inline(jpeg(64, 64)))
    assert seen == [None, None]


async def test_killed_redis_fails_no_call(replicas: tuple[World, World], redis: RedisServer):
    """Without Redis every call is answered; each replica looks for itself."""
    refs = [await replicas[0].photo(seed) for seed in range(8)]
    await replicas[0].look(refs[0])
    await redis.kill()
    for world, asked in zip(replicas, (refs[:4], refs[4:]), strict=True):
        outcomes = await world.look(*asked)
        assert [outcome.error for outcome in outcomes] == [None] * 4
        assert "results.shared" in world.diagnostics.conditions


async def test_other_version_is_answered_from_what_is_stored(world: World, tmp_path: Path):
    """A version that is not served gives what is stored, or says that nothing is."""
    known, unknown = await world.photo(1), await world.photo(2)
    (made,) = await world.look(known)
    await world.results.settle()
    newer = World(Objects.open(tmp_path))
    newer.model.version = "f" * 16
    outcomes = await newer.look(known, unknown, version=world.model.version)
    assert (outcomes[0].encoded, outcomes[0].model_version) == (made.encoded, world.model.version)
    assert isinstance(outcomes[1].error, errors.ResultNotFound)
    (visiting,) = await newer.look(inline(jpeg(64, 64)), version=world.model.version)
    assert isinstance(visiting.error, errors.ResultNotFound)
    assert newer.model.calls == 0
    (served,) = await newer.look(known, version=newer.model.version)
    assert served.model_version == newer.model.version
    assert newer.model.calls == 1
    await newer.close()


async def test_other_version_is_for_owners(world: World):
    """A pinned version of an image that the tenant does not have is not found, whoever has it."""
    ref = await world.photo()
    (outcome,) = await world.look(ref, tenant="globex", version="f" * 16)
    assert isinstance(outcome.error, errors.ImageNotFound)
