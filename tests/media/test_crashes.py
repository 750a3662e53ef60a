"""Uploads and deletions that die or fail at any step, in a folder and in a cloud.

Whatever step it is: who had an image and did not give it up still has it, whole; who does not have
it sees nothing of it; and once the store is swept, nothing is left that nobody has.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from services import errors
from services.images.retention import Retention
from services.images.sweeper import Sweeper
from services.media.layout import (
    IMAGES,
    OWNERS,
    TOMBSTONES,
    image_folder,
    owner_path,
    row_path,
)
from services.media.objects import Objects
from services.media.store import ImageStore
from tests.media.breaking import WAYS, Breaking, Killed, Way
from tests.support import photos

PHOTO: Final = photos.png(64, 48)
DIGEST: Final = hashlib.sha256(PHOTO).hexdigest()
OTHER: Final = photos.png(64, 48, seed=1)

Act = Callable[[ImageStore], Awaitable[object]]

ACTS: Final[dict[str, tuple[set[str], str, Act]]] = {
    "first upload": (set(), "acme", lambda store: store.create("acme", PHOTO)),
    "second upload": ({"zeta"}, "acme", lambda store: store.create("acme", PHOTO)),
    "first deletion": ({"acme", "zeta"}, "acme", lambda store: store.delete("acme", DIGEST)),
    "last deletion": ({"acme"}, "acme", lambda store: store.delete("acme", DIGEST)),
}
"""What is done: who has the image before, who does it, and how."""


class World:
    """A store, processes that come and go, and a clock."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.now = datetime.now(UTC)
        self.told: list[str] = []
        self.start()

    def start(self) -> None:
        """Another process, which knows nothing of those before."""
        self.store = ImageStore(self.objects, on_gone=self._gone, clock=lambda: self.now)

    async def _gone(self, digest: str) -> None:
        self.told.append(digest)

    async def sweep(self) -> None:
        """All the housekeeping of the next hours."""
        sweeper = Sweeper(self.store, self.objects, Retention({}), clock=lambda: self.now)
        for _ in range(2):
            self.now += timedelta(hours=2)
            await sweeper.sweep(DIGEST[:2])
            await sweeper.finish_deletions()

    async def has(self, tenant: str) -> bool:
        """Whether a tenant has the image; if so, all of it."""
        try:
            record = await self.store.get(tenant, DIGEST)
        except errors.ImageNotFound:
            return False
        assert await self.store.original(record) == PHOTO
        assert len(await self.store.rendition(record)) == record.rendition_bytes
        assert await self.store.exists(DIGEST)
        return True

    async def check_swept(self, owners: set[str]) -> None:
        """Nothing is left of the image but what its owners have."""
        for tenant in ("acme", "zeta"):
            assert await self.has(tenant) is (tenant in owners)
        assert await self.objects.names(TOMBSTONES) == []
        names = {"original", "rendition", "meta.json", *(f"owned.{owner}" for owner in owners)}
        if self.objects.appends:
            names.add("results")
        tree = await self.objects.tree(f"{IMAGES}/{DIGEST[:2]}")
        assert {digest: set(found) for digest, found in tree.items()} == (
            {DIGEST: names} if owners else {}
        )
        for tenant in ("acme", "zeta"):
            rows = await self.objects.names(f"{OWNERS}/{tenant}/{DIGEST[:2]}")
            assert rows == ([DIGEST] if tenant in owners else [])


@pytest.fixture(params=["folder", "memory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], World]:
    """Makes a fresh world for each step."""

    def make(step: int) -> World:
        folder = request.param == "folder"
        return World(Objects.open(tmp_path / str(step) if folder else "memory:///"))

    return make


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ACTS)
async def test_every_step(
    world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, name: str, way: Way
):
    """An act that breaks at any of its steps is done or not done, and leaves nothing behind."""
    before, tenant, act = ACTS[name]
    after = before ^ {tenant}
    breaking = Breaking(monkeypatch)
    done, step = False, 0
    while not done:
        here = world(step)
        for owner in sorted(before):
            await here.store.create(owner, PHOTO)
        answered = False
        breaking.arm(step, way)
        with contextlib.suppress(Killed, errors.StoreUnavailable):
            await act(here.store)
            answered = True
        breaking.repair()
        here.start()
        # Nobody else notices at any time.
        for other in before & after:
            assert await here.has(other)
        has = await here.has(tenant)
        if answered:
            assert has is (tenant in after)
        elif way == "fails once" and tenant in after:
            assert not has  # what was refused is not there either
        await here.sweep()
        assert await here.has(tenant) is has
        await here.check_swept(after if has is (tenant in after) else before)
        if name == "last deletion" and not has:
            assert DIGEST in here.told
        done, step = not breaking.broke, step + 1
    assert step > 3  # it broke, and each time in another place


@pytest.mark.parametrize("way", ["killed", "fails for good"])
async def test_sweeping_breaks_too(
    world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, way: Way
):
    """A sweeper that dies while it finishes a deletion is itself finished by the next."""
    breaking = Breaking(monkeypatch)
    done, step = False, 0
    while not done:
        here = world(step)
        await here.store.create("acme", PHOTO)
        breaking.arm(3, "killed")  # the row is gone, and little more
        with contextlib.suppress(Killed):
            await here.store.delete("acme", DIGEST)
        breaking.arm(step, way)
        with contextlib.suppress(Killed):
            await here.sweep()
        done, step = not breaking.broke, step + 1
        breaking.repair()
        here.start()
        await here.sweep()
        await here.check_swept({"acme"} if await here.has("acme") else set())


@pytest.mark.parametrize("how", ["deleted", "expired", "half an upload"])
async def test_a_full_store_is_emptied(
    world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, how: str
):
    """Where nothing more can be written, deleting still makes room, and is finished when it has."""
    here = world(0)
    await here.store.create("acme", PHOTO)
    if how == "half an upload":
        await here.objects.delete(row_path("acme", DIGEST))
    put_all, folder = here.objects.put_all, image_folder(DIGEST)

    async def full(objects: dict[str, bytes], **options: Any) -> None:
        if await here.objects.names(folder):
            raise errors.StoreUnavailable("no space left on device")
        await put_all(objects, **options)

    monkeypatch.setattr(here.objects, "put_all", full)
    if how == "deleted":
        await here.store.delete("acme", DIGEST)
    else:
        retention, clock = Retention({"*": 1.0}), (lambda: here.now + timedelta(days=2))
        await Sweeper(here.store, here.objects, retention, clock=clock).sweep(DIGEST[:2])
    assert await here.objects.list(IMAGES) == await here.objects.list(OWNERS) == []
    assert await here.objects.names(TOMBSTONES) == [DIGEST]
    await here.sweep()
    await here.check_swept(set())
    assert here.told == [DIGEST] * 2


async def test_a_deletion_meets_an_upload(world: Callable[[int], World]):
    """One tenant deletes while another uploads the same image: the other one has it."""
    for turn in range(20):
        here = world(turn)
        await here.store.create("acme", PHOTO)

        async def upload(here: World = here, turn: int = turn) -> None:
            for _ in range(turn % 10):
                await asyncio.sleep(0)
            await here.store.create("zeta", PHOTO)

        await asyncio.gather(upload(), here.store.delete("acme", DIGEST))
        assert await here.has("zeta")
        await here.sweep()
        await here.check_swept({"zeta"})


async def test_a_last_look_meets_an_upload(world: Callable[[int], World]):
    """While a deletion is finished the image is uploaded again: all of it is there."""
    for turn in range(20):
        here = world(turn)
        await here.store.create("acme", PHOTO)
        await here.store.delete("acme", DIGEST)
        here.now += timedelta(hours=1)

        async def upload(here: World = here, turn: int = turn) -> None:
            for _ in range(turn % 10):
                await asyncio.sleep(0)
            await here.store.create("acme", PHOTO)

        await asyncio.gather(here.store.finish(DIGEST), upload())
        assert await here.has("acme")
        await here.sweep()
        await here.check_swept({"acme"})


async def test_deleted_again_within_the_grace(world: Callable[[int], World]):
    """The second deletion clears and tells as the first did, however soon it comes."""
    here = world(0)
    for times in (1, 2):
        await here.store.create("acme", PHOTO)
        await here.store.delete("acme", DIGEST)
        assert here.told == [DIGEST] * times
        assert await here.objects.list(IMAGES) == []


async def test_an_upload_over_a_tombstone(world: Callable[[int], World]):
    """What is uploaded again while its deletion is not finished stays, and the tombstone goes."""
    here = world(0)
    await here.store.create("acme", PHOTO)
    await here.store.delete("acme", DIGEST)
    assert await here.objects.names(TOMBSTONES) == [DIGEST]
    assert (await here.store.create("acme", PHOTO))[1]
    told = list(here.told)
    await here.sweep()
    assert here.told == told  # its results may be kept
    await here.check_swept({"acme"})


async def test_neighbours_are_left_alone(world: Callable[[int], World]):
    """Sweeping changes nothing about images with which all is well."""
    here = world(0)
    for tenant, photo in (("acme", PHOTO), ("zeta", PHOTO), ("acme", OTHER)):
        await here.store.create(tenant, photo)
    files = {path: await here.objects.get(path) for path in await here.objects.list(IMAGES)}
    await here.sweep()
    assert {p: await here.objects.get(p) for p in await here.objects.list(IMAGES)} == files
    assert here.told == []


async def test_a_stray_back_reference_goes(world: Callable[[int], World]):
    """A back-reference behind which there is no row keeps no image, and goes itself."""
    here = world(0)
    await here.store.create("acme", PHOTO)
    await here.objects.put(owner_path("zeta", DIGEST), b"")
    await here.store.delete("acme", DIGEST)
    assert await here.objects.names(image_folder(DIGEST)) == []
    assert not await here.store.exists(DIGEST)
