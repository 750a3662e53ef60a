"""One image, several tenants: each has its own, and learns nothing of the others'."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services import errors
from services.media.layout import image_folder, row_path, tombstone_path
from services.media.objects import Objects
from services.media.ownership import GRACE
from services.media.store import RENEWED_AFTER, ImageStore
from tests.support import photos

PHOTO = photos.png(64, 48)
DIGEST = hashlib.sha256(PHOTO).hexdigest()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Watched(Objects):
    """Notes every call: what of it, and about what."""

    def __init__(self, inner: Objects) -> None:
        super().__init__(inner._store, inner._folder)
        self.calls: list[tuple[str, ...]] = []

    async def get(self, path: str) -> bytes | None:
        self.calls.append(("get", path))
        return await super().get(path)

    async def put_all(self, objects, *, touch=(), durable=False) -> None:
        self.calls.append(("put", *objects, *touch))
        await super().put_all(objects, touch=touch, durable=durable)

    async def sizes(self, paths):
        self.calls.append(("sizes", *paths))
        return await super().sizes(paths)

    async def names(self, path):
        self.calls.append(("names", path))
        return await super().names(path)

    async def delete(self, path: str, *, durable: bool = False) -> None:
        self.calls.append(("delete", path))
        await super().delete(path, durable=durable)

    async def sync(self, paths) -> None:
        self.calls.append(("sync", *paths))
        await super().sync(paths)

    def seen_by(self, tenant: str) -> list[tuple[str, ...]]:
        """The calls so far, with the tenant's name left out, and forget them."""
        calls, self.calls = self.calls, []
        return [tuple(word.replace(tenant, "me") for word in call) for call in calls]


@pytest.fixture(params=["folder", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Watched:
    return Watched(Objects.open(tmp_path if request.param == "folder" else "memory:///"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(objects: Objects, clock: Clock) -> ImageStore:
    return ImageStore(objects, clock=clock)


async def test_each_has_its_own(store: ImageStore, clock: Clock):
    """Both are the creator of their image, each at its own time; who did not upload has nothing."""
    first, created = await store.create("acme", PHOTO)
    clock.now += timedelta(days=3)
    second, created_too = await store.create("zeta", PHOTO)
    assert created
    assert created_too
    assert second.created_at - first.created_at == timedelta(days=3)
    assert await store.get("acme", DIGEST) == first
    assert await store.get("zeta", DIGEST) == second
    for call in (store.get, store.delete):
        with pytest.raises(errors.ImageNotFound):
            await call("nosy", DIGEST)
    assert await store.original(first) == await store.original(second) == PHOTO


async def test_a_deletion_takes_only_ones_own(
    store: ImageStore, objects: Watched, monkeypatch: pytest.MonkeyPatch
):
    """The other one's image, its rendition and its results stay, until it deletes them too."""
    record, _ = await store.create("acme", PHOTO)
    await store.create("zeta", PHOTO)
    kept = f"{image_folder(DIGEST)}/results"
    await objects.put(kept, b"results")
    await store.delete("acme", DIGEST)
    with pytest.raises(errors.ImageNotFound):
        await store.get("acme", DIGEST)
    assert await store.exists(DIGEST)
    assert await store.get("zeta", DIGEST) == record
    assert len(await store.rendition(record)) == record.rendition_bytes
    assert await objects.get(kept) == b"results"
    assert await objects.list("tombstones") == []
    await store.delete("zeta", DIGEST)
    assert not await store.exists(DIGEST)
    assert await objects.list("images") == await objects.list("owners") == []
    assert await objects.list("tombstones") == [tombstone_path(DIGEST)]


async def test_anothers_upload_keeps_what_is_known(store: ImageStore, objects: Watched):
    """Results that were made for one tenant are there for the next one's upload."""
    await store.create("acme", PHOTO)
    kept = f"{image_folder(DIGEST)}/results"
    await objects.put(kept, b"results")
    await store.create("zeta", PHOTO)
    assert await objects.get(kept) == b"results"


Ask = Callable[[ImageStore], Awaitable[object]]
QUESTIONS: dict[str, Ask] = {
    "describe": lambda store: store.get("nosy", DIGEST),
    "delete": lambda store: store.delete("nosy", DIGEST),
    "upload": lambda store: store.create("nosy", PHOTO),
    "upload by digest": lambda store: store.create("nosy", PHOTO, DIGEST),
    "upload what is broken": lambda store: store.create("nosy", PHOTO[:-500]),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_work_tells_nothing(store: ImageStore, objects: Watched, question: str):
    """A tenant that does not have an image causes the same work, whether or not another has it."""
    seen, outcomes = [], []
    for others in ([], ["acme"]):
        for other in others:
            await store.create(other, PHOTO)
        objects.calls.clear()
        try:
            outcomes.append((await QUESTIONS[question](store), ""))
        except errors.VisionmeshError as error:
            outcomes.append((None, error.message))
        seen.append(objects.seen_by("nosy"))
        assert not any("acme" in word for call in seen[-1] for word in call)
        if not others and question.startswith("upload"):
            await objects.delete_folder(image_folder(DIGEST))
            await objects.delete(row_path("nosy", DIGEST))
    assert seen[0] == seen[1]
    assert outcomes[0] == outcomes[1]


async def test_uploading_again_renews(store: ImageStore, objects: Watched, clock: Clock):
    """The same tenant's upload counts as its last one; that it is the creator, and when, stays."""
    record, _ = await store.create("acme", PHOTO)
    clock.now += RENEWED_AFTER
    renewed, created = await store.create("acme", PHOTO)
    assert not created
    assert renewed.renewed_at == clock.now
    assert renewed.created_at == record.created_at
    assert await store.get("acme", DIGEST) == renewed
    objects.calls.clear()
    assert await store.create("acme", PHOTO) == (renewed, False)
    assert not [call for call in objects.calls if call[0] == "put"]


async def test_only_what_is_older_expires(store: ImageStore, clock: Clock):
    """An image goes when it was last uploaded before the limit, for this tenant alone."""
    await store.create("acme", PHOTO)
    await store.create("zeta", PHOTO)
    limit = clock.now
    clock.now += RENEWED_AFTER
    await store.create("zeta", PHOTO)
    assert not await store.expire("acme", DIGEST, limit)
    assert await store.expire("acme", DIGEST, limit + timedelta(microseconds=1))
    assert not await store.expire("acme", DIGEST, clock.now)
    assert not await store.expire("zeta", DIGEST, clock.now)
    assert await store.get("zeta", DIGEST)


async def test_others_are_told_until_they_have_heard(objects: Watched, clock: Clock):
    """While a part of the mesh cannot be told of a deletion, the tombstone stands."""
    told: list[str] = []
    down = True

    async def on_gone(digest: str) -> None:
        told.append(digest)
        if down:
            raise errors.StoreUnavailable("down")

    store = ImageStore(objects, on_gone=on_gone, clock=clock)
    await store.create("acme", PHOTO)
    await store.delete("acme", DIGEST)
    clock.now += 2 * GRACE
    with pytest.raises(errors.StoreUnavailable):
        await store.finish(DIGEST)
    assert await objects.list("tombstones") == [tombstone_path(DIGEST)]
    down = False
    assert await store.finish(DIGEST)
    assert told == [DIGEST] * 3
    assert await objects.list("tombstones") == []


async def test_a_deletion_is_looked_at_again_after_its_grace(
    store: ImageStore, objects: Watched, clock: Clock
):
    """A result that a slow writer left behind a deletion is cleared by the last look."""
    await store.create("acme", PHOTO)
    await store.delete("acme", DIGEST)
    late = f"{image_folder(DIGEST)}/result.nsfw.0123"
    await objects.put(late, b"result")
    assert not await store.finish(DIGEST)
    clock.now += GRACE
    assert await store.finish(DIGEST)
    assert await objects.get(late) is None
    assert await objects.list("tombstones") == []


async def test_others_are_told_who_has_it_again(objects: Watched, clock: Clock):
    """Of what a tenant gets anew, and whether or not another has it; of what it has already, no."""
    told: list[str] = []

    async def on_gone(digest: str) -> None:
        told.append(f"gone {digest}")

    async def on_kept(digest: str) -> None:
        assert await store.get(tenant, digest)
        told.append(f"kept {digest}")

    store = ImageStore(objects, on_gone=on_gone, on_kept=on_kept, clock=clock)
    for tenant in ("acme", "zeta", "acme"):
        await store.create(tenant, PHOTO)
        clock.now += RENEWED_AFTER
    for tenant in ("acme", "zeta"):
        await store.delete(tenant, DIGEST)
    tenant = "acme"
    await store.create(tenant, PHOTO)
    clock.now += GRACE
    assert await store.finish(DIGEST)
    assert told == [f"{what} {DIGEST}" for what in ("kept", "kept", "gone", "kept")]


async def test_nobody_is_told_of_an_upload_that_failed(
    objects: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """What nobody has stays forgotten."""
    told: list[str] = []

    async def on_kept(digest: str) -> None:
        told.append(digest)

    async def full(*_: object, **__: object) -> None:
        raise errors.StoreUnavailable("full")

    store = ImageStore(objects, on_kept=on_kept, clock=clock)
    monkeypatch.setattr(objects, "put", full)
    with pytest.raises(errors.StoreUnavailable):
        await store.create("acme", PHOTO)
    assert told == []


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff", b"2030-01-01T00:00:00"])
async def test_a_tombstone_that_cannot_be_read(
    store: ImageStore, objects: Watched, clock: Clock, content: bytes
):
    """It stands for a deletion that begins now."""
    await store.create("acme", PHOTO)
    await store.delete("acme", DIGEST)
    await objects.put(tombstone_path(DIGEST), content)
    clock.now += 2 * GRACE
    assert not await store.finish(DIGEST)
    clock.now += GRACE
    assert await store.finish(DIGEST)


async def test_many_come_and_go(store: ImageStore, objects: Watched):
    """Whatever tenants do at the same time, each has in the end what it did last."""
    tenants = [f"tenant-{number}" for number in range(8)]

    async def live(tenant: str, stays: bool) -> None:
        for _ in range(3):
            await store.create(tenant, PHOTO)
            await store.delete(tenant, DIGEST)
        if stays:
            await store.create(tenant, PHOTO)

    await asyncio.gather(*(live(tenant, index % 2 == 0) for index, tenant in enumerate(tenants)))
    for index, tenant in enumerate(tenants):
        if index % 2 == 0:
            assert await store.original(await store.get(tenant, DIGEST)) == PHOTO
        else:
            with pytest.raises(errors.ImageNotFound):
                await store.get(tenant, DIGEST)


@pytest.mark.parametrize("tenant", ["", "../acme", "a/b", "Acme", "a.b", "-a", "a b"])
async def test_a_tenant_never_becomes_a_path(store: ImageStore, tenant: str):
    """What cannot be a tenant's name is a fault of ours, and reaches no store."""
    for call in (store.get(tenant, DIGEST), store.delete(tenant, DIGEST)):
        with pytest.raises(errors.Internal):
            await call
    with pytest.raises(errors.Internal):
        await store.create(tenant, PHOTO)
