"""All tiers together: found where it is nearest, made once, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services import errors
from services.media.layout import meta_path
from services.media.objects import Objects
from services.results.durable import durable_tier, result_path, results_path
from services.results.envelope import Value
from services.results.keys import ResultKey
from services.results.memory import MemoryTier
from services.results.results import MAX_BEHIND, Results
from services.results.shared import SharedTier
from services.serving.diagnostics import Diagnostics
from tests.support.redis import RedisServer

KEY = ResultKey("a" * 64, "nsfw", "0123456789abcdef")


class Work:
    """A model's work on one image: counted, and held back while `hold` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.value: Value | Exception = b"result"
        self.entered = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def __call__(self) -> Value:
        self.calls += 1
        self.entered.set()
        if self.hold:
            await self.hold.wait()
        await asyncio.sleep(0.01)
        if isinstance(self.value, Exception) and not isinstance(self.value, errors.InvalidArgument):
            raise self.value
        return self.value


async def store_in(folder: Path) -> Objects:
    """A store that has the image of KEY."""
    objects = Objects.open(folder)
    await objects.put(meta_path(KEY.digest), b"{}")
    await objects.put(results_path(KEY.digest), b"")
    return objects


@asynccontextmanager
async def results_over(
    objects: Objects, redis: RedisServer | None = None
) -> AsyncIterator[tuple[Results, Diagnostics]]:
    """The results of one replica, with a Redis that a loaded machine does not make slow."""
    diagnostics = Diagnostics()
    shared = SharedTier(redis.url, budget_s=20.0, lease_s=60.0) if redis else None
    results = Results(MemoryTier(), shared, durable_tier(objects), diagnostics)
    try:
        yield results, diagnostics
    finally:
        await results.close()


async def test_nearest_tier_answers(tmp_path: Path, redis: RedisServer):
    """Made once; then memory has it, another replica's Redis, and after all of that the disk."""
    objects, work = await store_in(tmp_path), Work()
    cloud = Objects.open("memory:///")
    await cloud.put(meta_path(KEY.digest), b"{}")
    for store, order in ((objects, ["durable"]), (cloud, ["shared", "durable"])):
        async with results_over(store, redis) as (results, diagnostics):
            assert await results.obtain(KEY, work) == b"result"
            assert await results.obtain(KEY, work) == b"result"
            await results.settle()
            assert diagnostics.counters["results.misses"] == 1
            assert diagnostics.counters["results.memory.hits"] == 1
        for tier in order:
            async with results_over(store, redis) as (results, diagnostics):
                assert await results.obtain(KEY, work) == b"result"
                assert +diagnostics.counters == {f"results.{tier}.hits": 1}
            async with redis.client() as inside:
                await inside.flushall()
    assert work.calls == 2


async def test_cloud_result_is_shared_when_it_is_found(redis: RedisServer):
    """What one replica read from a cloud, the next one has from Redis."""
    cloud, work = Objects.open("memory:///"), Work()
    await cloud.put(meta_path(KEY.digest), b"{}")
    async with results_over(cloud) as (results, _):
        await results.put(KEY, b"result")
    for asked in (Results.get, lambda results, key: results.obtain(key, work)):
        async with results_over(cloud, redis) as (results, diagnostics):
            assert await asked(results, KEY) == b"result"
            await results.settle()
            assert diagnostics.counters["results.durable.hits"] == 1
            assert [key.split(":")[1] for key in await redis.keys()] == ["results"]
        async with redis.client() as inside:
            await inside.flushall()
    assert work.calls == 0


async def test_get_makes_nothing(tmp_path: Path, redis: RedisServer):
    """Asking for a stored result of an image that has none is None, and leaves no lease."""
    async with results_over(await store_in(tmp_path), redis) as (results, diagnostics):
        assert await results.get(KEY) is None
        assert +diagnostics.counters == {"results.misses": 1}
    assert await redis.keys() == []


async def test_negative_results_are_kept(tmp_path: Path):
    """An error that stands for a result is made once, and outlives the process."""
    objects, work = await store_in(tmp_path), Work()
    work.value = errors.CorruptImage("cannot be decoded", field="data")
    for _ in range(2):
        async with results_over(objects) as (results, _):
            for _ in range(2):
                found = await results.obtain(KEY, work)
                assert isinstance(found, errors.CorruptImage)
                assert (found.message, found.field) == ("cannot be decoded", "data")
    assert work.calls == 1


async def test_failure_is_not_kept(tmp_path: Path, redis: RedisServer):
    """What is raised is for those who wait; the lease ends, and the next one tries again."""
    objects, work = await store_in(tmp_path), Work()
    work.value = errors.ModelUnavailable("down")
    async with results_over(objects, redis) as (results, _):
        calls = [results.obtain(KEY, work) for _ in range(3)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(failure) for failure in failures] == [errors.ModelUnavailable] * 3
        work.value = b"result"
        assert await results.obtain(KEY, work) == b"result"
    assert work.calls == 2


async def test_one_result_for_two_replicas(tmp_path: Path, redis: RedisServer):
    """Fifty calls at each of two replicas make one result."""
    objects, work = await store_in(tmp_path), Work()
    async with (
        results_over(objects, redis) as (one, counted),
        results_over(objects, redis) as (other, also_counted),
    ):
        calls = [results.obtain(KEY, work) for results in (one, other) for _ in range(50)]
        assert await asyncio.gather(*calls) == [b"result"] * 100
    assert work.calls == 1
    both = counted.counters + also_counted.counters
    assert both["results.misses"] == 1
    assert both["flights.joined"] == 98


async def test_cancelled_maker_hands_over(tmp_path: Path, redis: RedisServer):
    """When the replica that makes a result loses its last waiter, the other one makes it."""
    objects, stuck, work = await store_in(tmp_path), Work(), Work()
    stuck.hold = asyncio.Event()
    async with (
        results_over(objects, redis) as (one, _),
        results_over(objects, redis) as (other, _),
    ):
        leaving = asyncio.create_task(one.obtain(KEY, stuck))
        await stuck.entered.wait()
        asked = await redis.scripts_run()
        staying = asyncio.create_task(other.obtain(KEY, work))
        await redis.until_asked(asked + 2)
        assert work.calls == 0
        leaving.cancel()
        assert await asyncio.wait_for(staying, 30) == b"result"
    assert work.calls == 1


async def test_result_that_redis_does_not_keep_is_made_once(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    """A replica that waits for another's result waits until it can be found somewhere."""
    objects, work, going = await store_in(tmp_path), Work(), asyncio.Event()
    append = objects.append

    async def slow(path: str, data: bytes) -> bool:
        await going.wait()
        return await append(path, data)

    monkeypatch.setattr(objects, "append", slow)
    work.hold = asyncio.Event()
    async with (
        results_over(objects, redis) as (one, _),
        results_over(objects, redis) as (other, _),
    ):
        await one.forget(KEY.digest)  # from here on Redis refuses what is made of it
        first = asyncio.create_task(one.obtain(KEY, work))
        await work.entered.wait()
        second = asyncio.create_task(other.obtain(KEY, work))
        work.hold.set()
        assert await first == b"result"
        asking = asyncio.create_task(redis.until_asked(await redis.scripts_run() + 10))
        await asyncio.wait((asking, second), return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        going.set()
        assert await asyncio.wait_for(second, 30) == b"result"
    assert work.calls == 1


async def test_admitted_results_are_shared_again(redis: RedisServer):
    """What was forgotten and is somebody's again reaches the other replicas through Redis."""
    cloud = Objects.open("memory:///")
    async with results_over(cloud, redis) as (one, _), results_over(cloud, redis) as (other, _):
        await one.forget(KEY.digest)
        await one.admit(KEY.digest)
        await one.put(KEY, b"result")
        await one.settle()
        assert await other.get(KEY) == b"result"
    async with results_over(cloud) as (alone, _):
        await alone.admit(KEY.digest)


async def test_garbage_on_disk_costs_one_inference(tmp_path: Path):
    """Whatever is in the file of results: it is made again once, and found from then on."""
    objects, work = await store_in(tmp_path), Work()
    for rounds, garbage in enumerate((b"garbage", b"\xffVMf", bytes(100), b"\xff" * 99), 1):
        await objects.put(results_path(KEY.digest), garbage)
        for _ in range(2):
            async with results_over(objects) as (results, _):
                assert await results.obtain(KEY, work) == b"result"
        assert work.calls == rounds


async def test_bytes_that_the_model_refuses_count_as_absent(tmp_path: Path):
    """A stored result that is whole and that its model does not take is made again."""
    objects, work = await store_in(tmp_path), Work()

    def check(data: bytes) -> None:
        if data != b"result":
            raise ValueError("none")

    async with results_over(objects) as (results, _):
        await results.put(KEY, b"of another mind")
    async with results_over(objects) as (results, _):
        assert await results.obtain(KEY, work, check) == b"result"
    assert work.calls == 1


async def test_forgotten_everywhere_but_on_disk(tmp_path: Path, redis: RedisServer):
    """Forgetting empties memory and Redis; the file goes with the image's folder."""
    objects = await store_in(tmp_path)
    async with results_over(objects, redis) as (results, _):
        await results.put(KEY, b"result")
        await results.settle()
        await objects.delete_folder(f"images/aa/{KEY.digest}")
        await results.forget(KEY.digest)
        assert await results.get(KEY) is None


@pytest.mark.parametrize("location", ["folder", "memory:///"])
async def test_late_result_of_a_deleted_image_leaves_nothing(tmp_path: Path, location: str):
    """What is stored after its image is gone leaves no object behind."""
    objects = Objects.open(tmp_path if location == "folder" else location)
    async with results_over(objects) as (results, _):
        await results.put(KEY, b"result")
        await results.settle()
        assert await objects.list("images") == []


async def test_result_that_a_deletion_overtakes_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    """In a cloud, an image that is deleted while its result is written takes it along."""
    objects = Objects.open("memory:///")
    await objects.put(meta_path(KEY.digest), b"{}")
    put = objects.put

    async def late(path: str, data: bytes, *, durable: bool = False) -> None:
        await objects.delete(meta_path(KEY.digest))
        await put(path, data, durable=durable)

    monkeypatch.setattr(objects, "put", late)
    async with results_over(objects) as (results, _):
        await results.put(KEY, b"result")
        await results.settle()
        assert await objects.list("images") == []


async def unreadable(*_: object) -> None:
    raise errors.StoreUnavailable("down")


async def test_store_that_is_down_costs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A store that neither reads nor writes is said to ail; results are made and kept near."""
    objects, work = await store_in(tmp_path), Work()
    monkeypatch.setattr(objects, "get", unreadable)
    monkeypatch.setattr(objects, "append_all", unreadable)
    async with results_over(objects) as (results, diagnostics):
        assert await results.obtain(KEY, work) == b"result"
        await results.settle()
        assert await results.obtain(KEY, work) == b"result"
        assert "results.durable" in diagnostics.conditions
        monkeypatch.undo()
        await results.put(KEY, b"result")
        await results.settle()
        assert diagnostics.conditions == {}
    assert work.calls == 1


async def test_full_disk_costs_no_answer(tmp_path: Path):
    """A disk that takes nothing more is said to ail, and every answer is given."""
    objects, work = await store_in(tmp_path), Work()
    file = tmp_path / results_path(KEY.digest)
    file.unlink()
    file.symlink_to("/dev/full")
    async with results_over(objects) as (results, diagnostics):
        assert await results.obtain(KEY, work) == b"result"
        await results.settle()
        assert "results.durable" in diagnostics.conditions


async def test_slow_store_falls_behind_within_bounds(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    """A store that does not keep up holds up no answer, and what waits for it is bounded."""
    objects, going = await store_in(tmp_path), asyncio.Event()
    append = objects.append_all

    async def slow(pieces: Sequence[tuple[str, bytes]]) -> list[bool]:
        await going.wait()
        return await append(pieces)

    monkeypatch.setattr(objects, "append_all", slow)
    async with results_over(objects, redis) as (results, diagnostics):
        for number in range(MAX_BEHIND + 10):
            await results.put(ResultKey(KEY.digest, "nsfw", f"{number:016x}"), b"result")
        assert diagnostics.counters["results.durable.dropped"] == 10
        going.set()
        # What stays out of the store is still found by other replicas.
        beyond = ResultKey(KEY.digest, "nsfw", f"{MAX_BEHIND + 9:016x}")
    async with results_over(objects, redis) as (other, counted):
        assert await other.get(beyond) == b"result"
        assert +counted.counters == {"results.shared.hits": 1}
    async with results_over(objects) as (results, _):
        last = ResultKey(KEY.digest, "nsfw", f"{MAX_BEHIND - 1:016x}")
        assert await results.get(last) == b"result"


async def test_closing_writes_what_was_made(tmp_path: Path):
    """A process that ends well leaves every result that it made in the store."""
    objects, work = await store_in(tmp_path), Work()
    async with results_over(objects) as (results, _):
        await results.obtain(KEY, work)
    async with results_over(objects) as (results, _):
        assert await results.get(KEY) == b"result"


async def test_closing_ends_what_is_being_made(tmp_path: Path, redis: RedisServer):
    """A process that ends cancels its flights and hands their leases back."""
    objects, stuck = await store_in(tmp_path), Work()
    stuck.hold = asyncio.Event()
    async with results_over(objects, redis) as (results, _):
        waiting = asyncio.create_task(results.obtain(KEY, stuck))
        await stuck.entered.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await redis.keys() == []


async def test_models_do_not_see_each_other(tmp_path: Path):
    """Results of several models and versions of one image are kept apart in one file."""
    objects = await store_in(tmp_path)
    keys = [ResultKey(KEY.digest, m, v) for m in ("nsfw", "ocr") for v in ("0" * 16, "1" * 16)]
    async with results_over(objects) as (results, _):
        for key in keys:
            await results.put(key, f"{key.model} {key.version}".encode())
    async with results_over(objects) as (results, _):
        for key in keys:
            assert await results.get(key) == f"{key.model} {key.version}".encode()
    assert not await objects.exists(result_path(KEY))


async def test_results_that_come_together_are_appended_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first of many is written at once, the others in one hop; each where it belongs."""
    objects, hops = await store_in(tmp_path), list[int]()
    append = objects.append_all

    async def counted(pieces: Sequence[tuple[str, bytes]]) -> list[bool]:
        hops.append(len(pieces))
        return await append(pieces)

    monkeypatch.setattr(objects, "append_all", counted)
    keys = [ResultKey(KEY.digest, "nsfw", f"{number:016x}") for number in range(20)]
    async with results_over(objects) as (results, _):
        await results.put(keys[0], b"0")
        await results.settle()
        for key in keys[1:]:
            await results.put(key, key.version.encode())
        await results.settle()
    assert hops == [1, 19]
    async with results_over(objects) as (results, _):
        assert await results.get(keys[-1]) == keys[-1].version.encode()


async def test_append_that_fails_holds_up_no_other(tmp_path: Path):
    """One file that takes nothing costs its own result, and is told."""
    objects = Objects.open(tmp_path)
    for path in ("a", "b", "c"):
        await objects.put(path, b"")
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to("/dev/full")
    with pytest.raises(errors.StoreUnavailable):
        await objects.append_all([("a", b"1"), ("b", b"2"), ("c", b"3")])
    assert await objects.get("a") == b"1"
    assert await objects.get("c") == b"3"
    assert await objects.append_all([("a", b"1"), ("missing", b"2")]) == [True, False]
