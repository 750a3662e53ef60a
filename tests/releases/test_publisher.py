"""A release is durable before it is named, and a broken store holds nobody up for long."""

from __future__ import annotations

import asyncio

import pytest

from services import errors
from services.releases.publisher import PAUSE_S, REMEMBERED, Publisher
from services.releases.registry import Registry
from services.releases.release import Release
from tests.releases.stores import A, B, Clock, Store

RELEASE = Release({"nsfw": A}, "", {"default": "d1"})
PATH = f"releases/{RELEASE.name}.json"


def publisher(store: Store, clock: Clock | None = None, patience_s: float = 60.0) -> Publisher:
    registry = Registry(store.objects)
    return Publisher(registry, patience_s=patience_s, clock=clock or Clock())


async def test_durable_before_it_is_named():
    """Whoever names a release waits until it is written, and many write it once."""
    store = Store()
    store.open.clear()
    one = publisher(store)
    naming = [asyncio.create_task(one.publish(RELEASE)) for _ in range(20)]
    await asyncio.wait(naming, timeout=0.05)
    assert not any(task.done() for task in naming)
    store.open.set()
    await asyncio.gather(*naming)
    assert store.written == [PATH]
    reads = len(store.reads)
    await one.publish(RELEASE)
    assert len(store.reads) == reads


@pytest.mark.parametrize("broken", ["down", "read_only"])
async def test_broken_store_fails_nobody(broken: str):
    """While the store fails it is tried once a moment, and afterwards the release is written."""
    store, clock = Store(), Clock()
    one = publisher(store, clock)
    setattr(store, broken, True)
    for _ in range(5):
        await one.publish(RELEASE)
    assert len(store.reads) == 1
    assert await one.find(RELEASE.name) == RELEASE
    setattr(store, broken, False)
    clock.now += PAUSE_S
    await one.publish(RELEASE)
    assert store.written == [PATH]


async def test_slow_store_costs_only_patience():
    """A store that hangs holds the first one up for a moment, and the others not at all."""
    store = Store()
    store.open.clear()
    one = publisher(store, patience_s=0.01)
    await asyncio.wait_for(one.publish(RELEASE), 10)
    await asyncio.wait_for(one.publish(Release({"nsfw": B})), 10)
    assert store.reads == [PATH], "the second one did not wait"
    await one.close()


async def test_found_once_and_remembered():
    """A release that was found needs no store any more; one that is unknown is looked for."""
    store = Store()
    await Registry(store.objects).publish(RELEASE)
    store.reads.clear()
    one = publisher(store)
    assert await one.find(RELEASE.name) == RELEASE
    store.down = True
    assert await one.find(RELEASE.name) == RELEASE
    assert store.reads == [PATH]
    with pytest.raises(errors.StoreUnavailable):
        await one.find("0" * 16)


async def test_leaving_caller_disturbs_nobody():
    """A release is written also when who named it first has left."""
    store = Store()
    store.open.clear()
    one = publisher(store)
    first = asyncio.create_task(one.publish(RELEASE))
    second = asyncio.create_task(one.publish(RELEASE))
    await asyncio.wait([first, second], timeout=0.01)
    first.cancel()
    store.open.set()
    await second
    assert store.written == [PATH]


async def test_memory_is_bounded():
    """Of many releases the latest are in memory; older ones are found in the store."""
    store = Store()
    one = publisher(store)
    releases = [Release({"nsfw": f"{number:016x}"}) for number in range(REMEMBERED + 5)]
    for release in releases:
        await one.publish(release)
    assert len(one._known) == len(one._published) == REMEMBERED
    assert await one.find(releases[0].name) == releases[0]
