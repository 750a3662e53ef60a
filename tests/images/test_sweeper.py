"""Housekeeping: retention by tenant, what crashes left, and that nothing stops it."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError

from services import errors
from services.images.retention import Retention
from services.images.settings import ImagesSettings
from services.images.sweeper import OVERDUE, SLICES, Sweeper
from services.media.layout import image_folder, meta_path, row_path
from services.media.objects import Objects
from services.media.store import ImageStore
from services.serving.tenancy import LOCAL
from tests.support import photos

PHOTOS = [photos.png(16, 12, seed=seed) for seed in range(6)]


class World:
    """A store and its sweeper, and a clock that both follow."""

    def __init__(self, objects: Objects, days: dict[str, float] | None = None) -> None:
        self.now = datetime.now(UTC)
        self.objects = objects
        self.told: list[str] = []
        self.deaf: set[str] = set()
        self.store = ImageStore(objects, on_gone=self._gone, clock=lambda: self.now)
        self.sweeper = Sweeper(
            self.store,
            objects,
            Retention(days or {}),
            interval_s=0,
            clock=lambda: self.now,
        )

    async def _gone(self, digest: str) -> None:
        if digest in self.deaf:
            raise errors.StoreUnavailable("deaf")
        self.told.append(digest)

    async def round(self) -> None:
        for digits in SLICES:
            await self.sweeper.sweep(digits)

    async def has(self, tenant: str, digest: str) -> bool:
        try:
            await self.store.get(tenant, digest)
        except errors.ImageNotFound:
            return False
        return True


@pytest.fixture(params=["folder", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return Objects.open(tmp_path if request.param == "folder" else "memory:///")


async def test_each_tenant_keeps_images_as_long_as_is_set(objects: Objects):
    """An own entry, the entry for everybody else, and for ever where there is neither."""
    for days, kept in (
        ({"acme": 1.0, "*": 3.0}, ["zeta"]),
        ({"acme": 1.0}, ["zeta"]),
        ({"*": 1.0}, []),
        ({}, ["acme", "zeta"]),
    ):
        world = World(objects, days)
        digests = [(await world.store.create("acme", data))[0].digest for data in PHOTOS]
        for data in PHOTOS:
            await world.store.create("zeta", data)
        world.now += timedelta(hours=23)
        await world.round()
        assert all([await world.has(t, d) for t in ("acme", "zeta") for d in digests])
        world.now += timedelta(hours=2)
        await world.round()
        for tenant in ("acme", "zeta"):
            assert {await world.has(tenant, d) for d in digests} == {tenant in kept}
        assert set(world.told) == (set() if kept else set(digests))


async def test_an_upload_is_kept_from_its_last_time(objects: Objects, tmp_path: Path):
    """Uploading again makes an image young; how old a file looks alone deletes nothing."""
    world = World(objects, {"*": 1.0})
    record, _ = await world.store.create("acme", PHOTOS[0])
    world.now += timedelta(hours=20)
    await world.store.create("acme", PHOTOS[0])
    if objects.appends:
        os.utime(tmp_path / row_path("acme", record.digest), (0, 0))
    world.now += timedelta(hours=20)
    await world.round()
    assert await world.has("acme", record.digest)


async def test_a_row_that_cannot_be_read_expires_too(objects: Objects):
    """What is damaged is kept no longer than what is whole: its file says how old it is."""
    world = World(objects, {"*": 1.0})
    record, _ = await world.store.create("acme", PHOTOS[0])
    await objects.put(row_path("acme", record.digest), b"garbage")
    world.now += timedelta(hours=23)
    await world.round()
    assert await objects.names(image_folder(record.digest))
    world.now += timedelta(hours=2)
    await world.round()
    assert await objects.list("images") == await objects.list("owners") == []
    assert world.told == [record.digest]


async def test_one_failure_stops_nothing(objects: Objects, monkeypatch: pytest.MonkeyPatch):
    """When one image cannot be deleted, finished or put right, the others still are."""
    world = World(objects, {"*": 1.0})
    digests = sorted([(await world.store.create("acme", data))[0].digest for data in PHOTOS])
    expire = world.store.expire

    async def fail(tenant: str, digest: str, before: datetime) -> bool:
        if digest == digests[0]:
            raise errors.StoreUnavailable("no")
        if digest == digests[1]:
            raise RuntimeError("a fault of ours")
        return await expire(tenant, digest, before)

    monkeypatch.setattr(world.store, "expire", fail)
    world.deaf = {digests[2]}
    world.now += timedelta(days=2)
    await world.round()
    assert [await world.has("acme", digest) for digest in digests] == [True, True, *[False] * 4]
    world.now += timedelta(minutes=2)
    await world.sweeper.finish_deletions()
    assert await objects.names("tombstones") == [digests[2]]


async def test_a_deletion_that_is_overdue_is_said(objects: Objects):
    """While a part of the mesh cannot be told for long, the process says so."""
    world = World(objects)
    digest = (await world.store.create("acme", PHOTOS[0]))[0].digest
    world.deaf = {digest}
    await world.store.delete("acme", digest)
    await world.sweeper.finish_deletions()
    assert world.sweeper.ailment is None
    world.now += OVERDUE * 2
    await world.sweeper.finish_deletions()
    assert (world.sweeper.ailment or "").startswith("1 deleted image")
    world.deaf = set()
    await world.sweeper.finish_deletions()
    assert world.sweeper.ailment is None
    assert await objects.names("tombstones") == []


async def test_it_goes_round_and_ends(objects: Objects):
    """Started, it gets to every slice by itself; closed, it ends at once."""
    world = World(objects, {"*": 1.0})
    for data in PHOTOS:
        await world.store.create("acme", data)
    world.now += timedelta(days=2)
    await world.sweeper.start()
    async with asyncio.timeout(30):
        while await objects.list("owners"):
            pass
        await world.sweeper.close()


async def test_short_lives_get_everywhere(objects: Objects, monkeypatch: pytest.MonkeyPatch):
    """A process that is started often, each time for a moment, sweeps not only the beginning."""
    swept: set[str] = set()
    for _ in range(20):
        world, begun = World(objects), asyncio.Event()

        async def sweep(digits: str, begun: asyncio.Event = begun) -> None:
            swept.add(digits)
            begun.set()
            await asyncio.sleep(0)

        monkeypatch.setattr(world.sweeper, "sweep", sweep)
        await world.sweeper.start()
        await begun.wait()
        await world.sweeper.close()
    assert len({digits[0] for digits in swept}) > 1


async def test_it_survives_a_store_that_cannot_be_read(tmp_path: Path):
    """A store that fails at the start is swept when it is back."""
    world = World(Objects.open(tmp_path))
    (tmp_path / "owners").write_bytes(b"in the way")
    (tmp_path / "tombstones").write_bytes(b"in the way")
    await world.sweeper.start()
    (tmp_path / "owners").unlink()
    (tmp_path / "tombstones").unlink()
    digest = (await world.store.create("acme", PHOTOS[0]))[0].digest
    await world.store.delete("acme", digest)
    world.now += timedelta(minutes=2)
    async with asyncio.timeout(30):
        while await world.objects.names("tombstones"):
            pass
        await world.sweeper.close()


async def test_images_from_before_there_were_owners(objects: Objects, tmp_path: Path):
    """They become the local tenant's before anything is served, with their age; and once only."""
    world = World(objects)
    record, _ = await world.store.create(LOCAL, PHOTOS[0])
    fields = orjson.loads(record.encode())
    del fields["renewedAt"]
    await objects.put(meta_path(record.digest), orjson.dumps({**fields, "version": 1}))
    await objects.delete(row_path(LOCAL, record.digest))
    for name in await objects.names(image_folder(record.digest)):
        if name.startswith(("owned", "results")):
            await objects.delete(f"{image_folder(record.digest)}/{name}")
    if objects.appends:
        shutil.rmtree(tmp_path / "owners")
    await world.sweeper.start()
    assert await world.store.get(LOCAL, record.digest) == record
    assert (await world.store.create(LOCAL, PHOTOS[0]))[1] is False
    await world.store.delete(LOCAL, record.digest)
    await world.sweeper.close()
    await world.round()
    assert not await world.has(LOCAL, record.digest)
    assert await objects.list("images") == []


def test_retention_is_set_by_json(monkeypatch: pytest.MonkeyPatch):
    """Days by tenant, fractions too; nothing set is for ever."""
    assert ImagesSettings().retention_days == {}
    monkeypatch.setenv("VISIONMESH_RETENTION_DAYS", '{"acme": 30, "*": 0.5}')
    assert ImagesSettings().retention_days == {"acme": 30, "*": 0.5}


@pytest.mark.parametrize(
    "value", ['{"acme": 0}', '{"acme": -1}', '{"Acme Corp": 1}', '{"*": 1e9}', '{"*": NaN}', "[]"]
)
def test_wrong_retention_is_refused(monkeypatch: pytest.MonkeyPatch, value: str):
    """What would delete everything, or nobody's, or means nothing, is no setting."""
    monkeypatch.setenv("VISIONMESH_RETENTION_DAYS", value)
    with pytest.raises(ValidationError):
        ImagesSettings()
