"""The image store: same bytes, same id, and never an id that does not last."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from services import errors
from services.media import record as record_module
from services.media import store as store_module
from services.media.info import ImageInfo
from services.media.layout import meta_path, row_path, tombstone_path
from services.media.objects import Objects
from services.media.pixels import RENDITION_VERSION
from services.media.record import ImageRecord
from services.media.rendition import render
from services.media.store import ImageStore, RenditionChanged, image_folder
from services.serving.tenancy import LOCAL
from tests.media.sync_spy import SyncSpy
from tests.support import photos

NOBODY = "0" * 64


class SlowObjects(Objects):
    """Waits before each write until `go` is set, and counts them."""

    def __init__(self, inner: Objects) -> None:
        super().__init__(inner._store, inner._folder)
        self.go = asyncio.Event()
        self.go.set()
        self.entered = asyncio.Event()
        self.written: list[str] = []

    async def put_all(
        self, objects: Mapping[str, bytes], *, touch: Iterable[str] = (), durable: bool = False
    ) -> None:
        self.entered.set()
        await self.go.wait()
        self.written += [*objects, *touch]
        await super().put_all(objects, touch=touch, durable=durable)


@pytest.fixture(params=["folder", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> SlowObjects:
    return SlowObjects(Objects.open(tmp_path if request.param == "folder" else "memory:///"))


@pytest.fixture
def store(objects: Objects) -> ImageStore:
    return ImageStore(objects)


@pytest.fixture
def folder_store(tmp_path: Path) -> ImageStore:
    return ImageStore(Objects.open(tmp_path))


async def test_what_is_stored_reads_back(store: ImageStore):
    """The record, the original and the rendition of a photo that needs one."""
    data = photos.jpeg(2000, 1000, exif=photos.exif(6))
    record, created = await store.create(LOCAL, data)
    assert created
    assert record.digest == hashlib.sha256(data).hexdigest()
    assert (record.media_type, record.byte_size) == ("image/jpeg", len(data))
    assert (record.width, record.height) == (1000, 2000)
    assert (record.orientation, record.frames) == (6, 1)
    assert (record.rendition_width, record.rendition_height) == (768, 1536)
    assert record.created_at.utcoffset() is not None
    assert await store.get(LOCAL, record.digest) == record
    assert await store.original(record) == data
    rendition = await store.rendition(record)
    assert rendition != data
    assert len(rendition) == record.rendition_bytes


async def test_an_image_that_serves_itself_is_stored_once(store: ImageStore, objects: SlowObjects):
    """No second file for an upright JPEG within 1536 pixels."""
    data = photos.jpeg(320, 240)
    record, _ = await store.create(LOCAL, data)
    files = ["meta.json", "original", "owned.local", *(["results"] if objects.appends else [])]
    assert await objects.names(image_folder(record.digest)) == files
    assert await store.rendition(record) == data


async def test_same_bytes_are_not_written_twice(store: ImageStore, objects: SlowObjects):
    """The second upload finds the first one's record and writes nothing."""
    data = photos.png(64, 48)
    first, created = await store.create(LOCAL, data)
    written = list(objects.written)
    second, created_again = await store.create(LOCAL, data, first.digest)
    assert (created, created_again) == (True, False)
    assert second == first
    assert objects.written == written


async def test_uploads_at_once_write_once(store: ImageStore, objects: SlowObjects):
    """Of many uploads of the same bytes at the same moment one is the creator."""
    data = photos.png(64, 48)
    objects.go.clear()
    uploads = [asyncio.create_task(store.create(LOCAL, data)) for _ in range(5)]
    await objects.entered.wait()
    objects.go.set()
    outcomes = await asyncio.gather(*uploads)
    assert sorted(created for _, created in outcomes) == [False] * 4 + [True]
    assert len({record for record, _ in outcomes}) == 1
    row = f"owners/local/{hashlib.sha256(data).hexdigest()[:2]}/{hashlib.sha256(data).hexdigest()}"
    assert len(objects.written) == len(set(objects.written)) == (6 if objects.appends else 5)
    assert objects.written[-1] == row


async def test_two_processes_at_once(tmp_path: Path):
    """Two stores on one folder that take the same bytes both answer with what reads back."""
    stores = [ImageStore(Objects.open(tmp_path)) for _ in range(2)]
    data = photos.jpeg(2000, 1000)
    for record, _ in await asyncio.gather(*(store.create(LOCAL, data) for store in stores)):
        assert await stores[0].original(record) == data
        assert len(await stores[1].rendition(record)) == record.rendition_bytes


async def test_ids_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All that is shared is synced before the row is written, then it is, each file by itself."""
    store = ImageStore(Objects.open(tmp_path))
    data = photos.jpeg(2000, 1000)
    digest = hashlib.sha256(data).hexdigest()
    folder, row = tmp_path / image_folder(digest), tmp_path / row_path("acme", digest)
    with_row: list[tuple[str, bool]] = []
    spy = SyncSpy(monkeypatch, lambda path: with_row.append((written_as(path), row.exists())))
    await store.create("acme", data)
    shared = [folder, folder.parent, tmp_path / "images", tmp_path]
    own = [row.parent, row.parent.parent, tmp_path / "owners", tmp_path]
    files = [folder / "original", folder / "rendition", folder / "meta.json"]
    assert spy.folders == [*shared, *own]
    assert with_row == [
        *((str(path), False) for path in [*files, *shared, row]),
        *((str(path), True) for path in own),
    ]


def written_as(path: Path) -> str:
    """The name that a file gets once it is written and synced."""
    return str(path).partition("#")[0]


async def test_known_image_is_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another process may have died between writing and syncing, so a known id is synced too.

    Its row was written when all else was durable, and has its name since its content was.
    """
    data = photos.jpeg(320, 240)
    record, _ = await ImageStore(Objects.open(tmp_path)).create(LOCAL, data)
    spy = SyncSpy(monkeypatch)
    _, created = await ImageStore(Objects.open(tmp_path)).create(LOCAL, data)
    assert not created
    folder = (tmp_path / row_path(LOCAL, record.digest)).parent
    assert not spy.files
    assert set(spy.folders) == {folder, folder.parent, tmp_path / "owners", tmp_path}


async def test_no_sync_no_id(folder_store: ImageStore, monkeypatch: pytest.MonkeyPatch):
    """A disk that fails to sync gives no id."""

    def fail(descriptor: int) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(errors.StoreUnavailable):
        await folder_store.create(LOCAL, photos.jpeg(64, 48))


@pytest.mark.parametrize(
    ("data", "digest", "error", "field"),
    [
        (b"", "", errors.EmptyImage, "data"),
        (b"text", "", errors.UnsupportedFormat, "data"),
        (photos.jpeg(64, 48)[:-100], "", errors.CorruptImage, "data"),
        (photos.png(64, 48)[:-100], "", errors.CorruptImage, "data"),
        (photos.huge_png(), "", errors.TooManyPixels, "data"),
        (b"\xff\xd8\xff" + bytes(20_000_000), "", errors.ImageTooLarge, "data"),
        (photos.jpeg(64, 48), NOBODY, errors.DigestMismatch, "digest"),
        (b"text", NOBODY, errors.DigestMismatch, "digest"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_what_is_refused_leaves_nothing(
    store: ImageStore,
    objects: SlowObjects,
    data: bytes,
    digest: str,
    error: type[errors.VisionmeshError],
    field: str,
):
    """Bad uploads raise their error and write nothing at all."""
    with pytest.raises(error) as raised:
        await store.create(LOCAL, data, digest)
    assert raised.value.field == field
    assert await objects.list("images") == []


@pytest.mark.parametrize("digest", ["", "abc", "../" + "0" * 61, "A" * 64, "0" * 65])
async def test_only_digests_are_looked_up(store: ImageStore, digest: str):
    """What is no digest never becomes a path."""
    for call in (store.get(LOCAL, digest), store.delete(LOCAL, digest)):
        with pytest.raises(errors.InvalidArgument):
            await call


async def test_unknown_image(store: ImageStore):
    """An unknown digest is ImageNotFound, to look at and to delete."""
    for call in (store.get(LOCAL, NOBODY), store.delete(LOCAL, NOBODY)):
        with pytest.raises(errors.ImageNotFound) as raised:
            await call
        assert NOBODY in raised.value.message


async def test_deletion_leaves_nothing(store: ImageStore, objects: SlowObjects):
    """With an image go its rendition and its results; then it can be stored anew."""
    data = photos.png(64, 48)
    record, _ = await store.create(LOCAL, data)
    await objects.put(f"{image_folder(record.digest)}/result.nsfw.0123", b"result")
    await store.delete(LOCAL, record.digest)
    assert await objects.list("images") == []
    for call in (store.get(LOCAL, record.digest), store.original(record), store.rendition(record)):
        with pytest.raises(errors.ImageNotFound):
            await call
    assert (await store.create(LOCAL, data))[1]


async def test_deletion_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tombstone, row, shared record: each is synced before the next step, the bytes go last."""
    store = ImageStore(Objects.open(tmp_path))
    record, _ = await store.create(LOCAL, photos.png(64, 48))
    paths = [
        tombstone_path(record.digest),
        row_path(LOCAL, record.digest),
        meta_path(record.digest),
    ]
    files = [
        *(tmp_path / path for path in paths),
        tmp_path / image_folder(record.digest) / "original",
    ]
    seen: list[tuple[str, list[bool]]] = []

    def look(path: Path) -> None:
        seen.append((path.name.partition("#")[0], [file.exists() for file in files]))

    SyncSpy(monkeypatch, look)
    await store.delete(LOCAL, record.digest)
    digest, digits = record.digest, record.digest[:2]
    assert seen == [
        (digest, [False, True, True, True]),  # the tombstone's content
        ("tombstones", [True, True, True, True]),
        (tmp_path.name, [True, True, True, True]),
        (digits, [True, False, True, True]),  # the row
        (digest, [True, False, False, True]),  # the shared record
    ]
    assert not files[-1].parent.exists()


FOLDER_WRECKS: dict[str, Callable[[Path], object]] = {
    "no meta": lambda folder: (folder / "meta.json").unlink(),
    "empty meta": lambda folder: (folder / "meta.json").write_bytes(b""),
    "half a meta": lambda folder: (folder / "meta.json").write_bytes(b'{"version":1,"dige'),
    "another meta": lambda folder: (folder / "meta.json").write_bytes(b'{"version":99}'),
    "no fields": lambda folder: (folder / "meta.json").write_bytes(b'{"version":1}'),
    "no object": lambda folder: (folder / "meta.json").write_bytes(b"[]"),
    "no original": lambda folder: (folder / "original").unlink(),
    "half an original": lambda folder: (folder / "original").write_bytes(b"half"),
    "no rendition": lambda folder: (folder / "rendition").unlink(),
    "empty rendition": lambda folder: (folder / "rendition").write_bytes(b""),
    "no results": lambda folder: (folder / "results").unlink(),
    "no back-reference": lambda folder: (folder / "owned.local").unlink(),
    "nothing": shutil.rmtree,
}
ROW_WRECKS: dict[str, Callable[[Path], object]] = {
    "no row": lambda row: row.unlink(),
    "empty row": lambda row: row.write_bytes(b""),
    "half a row": lambda row: row.write_bytes(b'{"version":2,"dige'),
    "another row": lambda row: row.write_bytes(b'{"version":99}'),
}


@pytest.mark.parametrize("wreck", [*FOLDER_WRECKS, *ROW_WRECKS])
async def test_the_next_upload_heals(tmp_path: Path, wreck: str):
    """Whatever a crash or a power cut left, uploading the same bytes makes the image whole."""
    data = photos.png(64, 48)
    store = ImageStore(Objects.open(tmp_path))
    before, _ = await store.create(LOCAL, data)
    rendition = await store.rendition(before)
    if wreck in FOLDER_WRECKS:
        FOLDER_WRECKS[wreck](tmp_path / image_folder(before.digest))
    else:
        ROW_WRECKS[wreck](tmp_path / row_path(LOCAL, before.digest))
        with pytest.raises(errors.ImageNotFound):
            await store.get(LOCAL, before.digest)
    _, created = await store.create(LOCAL, data)
    assert created is (wreck in ROW_WRECKS)
    record = await store.get(LOCAL, before.digest)
    created_at = before.created_at if created else record.created_at
    assert replace(record, renewed_at=before.renewed_at, created_at=created_at) == before
    assert await store.original(record) == data
    assert await store.rendition(record) == rendition
    assert await store.exists(record.digest)
    names = ["meta.json", "original", "owned.local", "rendition", "results"]
    assert await store._objects.names(image_folder(record.digest)) == names


async def test_a_row_that_cannot_be_read_can_be_deleted(tmp_path: Path):
    """What only a healing upload could bring back can also be given up, with all that is there."""
    objects = Objects.open(tmp_path)
    store = ImageStore(objects)
    record, _ = await store.create(LOCAL, photos.png(64, 48))
    await objects.put(row_path(LOCAL, record.digest), b"garbage")
    await store.delete(LOCAL, record.digest)
    assert await objects.list("images") == []
    assert await objects.list("owners") == []


@pytest.mark.parametrize("version", [1, "0123456789abcdef"], ids=["number", "hash"])
async def test_renditions_of_another_recipe_are_made_anew(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, version: int | str
):
    """A rendition by an older recipe is never served, and replaced when its image comes again."""
    data = photos.png(64, 48)
    monkeypatch.setattr(record_module, "RENDITION_VERSION", version)
    old, _ = await store.create(LOCAL, data)
    monkeypatch.undo()
    old = await store.get(LOCAL, old.digest)
    assert old.rendition_version == str(version)
    await store._objects.put(f"{image_folder(old.digest)}/rendition", b"by the old recipe")
    fresh = await store.rendition(old)
    record, created = await store.create(LOCAL, data)
    assert not created
    assert record.rendition_version == RENDITION_VERSION
    assert await store.rendition(record) == fresh


async def test_another_recipe_of_another_tenant_is_not_taken_for_ours(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
):
    """A rendition that another release wrote meanwhile, for somebody else, is made anew."""
    record, _ = await store.create("acme", photos.png(64, 48))
    made = await store.rendition(record)
    await store._objects.put(f"{image_folder(record.digest)}/rendition", b"by another recipe")
    assert await store.rendition(await store.get("acme", record.digest)) == made


async def test_rendition_is_read_by_the_thread_that_decodes_it(tmp_path: Path):
    """Where images are files a thread reads them itself, and finds out what `rendition` would."""
    store = ImageStore(Objects.open(tmp_path))
    for data in (photos.png(64, 48), photos.jpeg(64, 48)):
        record, _ = await store.create("acme", data)
        read = await store.rendition_for_thread(record)
        assert callable(read)
        assert read() == await store.rendition(record)
        path = f"{image_folder(record.digest)}/{[*record.blobs][-1]}"
        await store._objects.put(path, b"by another recipe")
        with pytest.raises(RenditionChanged):
            read()
        await store.delete("acme", record.digest)
        with pytest.raises(errors.ImageNotFound):
            read()


async def test_original_is_read_by_the_thread_that_decodes_it(tmp_path: Path):
    """A model that reads originals has them as the others have renditions."""
    store = ImageStore(Objects.open(tmp_path))
    record, _ = await store.create("acme", photos.png(64, 48))
    read = await store.original_for_thread(record)
    assert callable(read)
    assert read() == photos.png(64, 48)
    await store.delete("acme", record.digest)
    with pytest.raises(errors.ImageNotFound):
        read()


async def test_rendition_of_a_cloud_is_read_before(objects: SlowObjects):
    """What has to be awaited is there when a thread asks for it, and so is what is made anew."""
    store = ImageStore(Objects.open("memory:///"))
    record, _ = await store.create("acme", photos.png(64, 48))
    assert await store.rendition_for_thread(record) == await store.rendition(record)
    assert await store.original_for_thread(record) == await store.original(record)


async def test_still_there(store: ImageStore):
    """Whoever has an image is told so by its row's name, until it is deleted."""
    record, _ = await store.create("acme", photos.png(64, 48))
    await store.still("acme", record.digest)
    with pytest.raises(errors.ImageNotFound):
        await store.still("globex", record.digest)
    await store.delete("acme", record.digest)
    with pytest.raises(errors.ImageNotFound):
        await store.still("acme", record.digest)


async def test_bytes_are_rendered_without_being_stored(store: ImageStore, objects: SlowObjects):
    """What an upload would give can be had for bytes that nobody wants to keep."""
    data = photos.jpeg(2000, 1000)
    info, rendition = await store.render(data)
    assert (info.width, info.height) == (2000, 1000)
    assert await objects.list("images") == []
    record, _ = await store.create(LOCAL, data)
    assert await store.rendition(record) == rendition
    with pytest.raises(errors.CorruptImage):
        await store.render(data[:-100])


async def test_an_upload_survives_its_caller(store: ImageStore, objects: SlowObjects):
    """A caller who leaves half-way leaves a whole image behind, and `close` waits for it."""
    objects.go.clear()
    data = photos.png(64, 48)
    upload = asyncio.create_task(store.create(LOCAL, data))
    await objects.entered.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    closing = asyncio.create_task(store.close())
    objects.go.set()
    await closing
    record = await store.get(LOCAL, hashlib.sha256(data).hexdigest())
    assert await store.original(record) == data


async def test_a_deletion_waits_for_an_upload(store: ImageStore, objects: SlowObjects):
    """A deletion that meets an upload of the same image comes after it, and takes all of it."""
    objects.go.clear()
    data = photos.png(64, 48)
    upload = asyncio.create_task(store.create(LOCAL, data))
    await objects.entered.wait()
    deletion = asyncio.create_task(store.delete(LOCAL, hashlib.sha256(data).hexdigest()))
    objects.go.set()
    await asyncio.gather(upload, deletion)
    assert await objects.list("images") == []


async def test_decoding_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No more images than allowed are decoded at once, and of big ones only one; never here."""
    monkeypatch.setattr(store_module, "BIG_PIXELS", 10_000)
    running, most = {"all": 0, "big": 0}, {"all": 0, "big": 0}
    guard = threading.Lock()

    def count(data: bytes, info: ImageInfo) -> bytes:
        assert threading.current_thread() is not threading.main_thread()
        kinds = ["all", *(["big"] if info.pixels >= 10_000 else [])]
        with guard:
            for kind in kinds:
                running[kind] += 1
                most[kind] = max(most[kind], running[kind])
        try:
            return render(data, info)
        finally:
            with guard:
                for kind in kinds:
                    running[kind] -= 1

    monkeypatch.setattr(store_module, "render", count)
    store = ImageStore(Objects.open(tmp_path), concurrency=3)
    sizes = [(300, 200), (60, 40)] * 8
    await asyncio.gather(
        *(store.create(LOCAL, photos.png(*size, seed=seed)) for seed, size in enumerate(sizes))
    )
    assert 1 <= most["all"] <= 3
    assert most["big"] == 1


@pytest.mark.parametrize("big", [False, True])
async def test_cancelled_decoding_still_counts(monkeypatch: pytest.MonkeyPatch, big: bool):
    """A thread that decodes keeps its slots when its caller has left, until it has ended."""
    monkeypatch.setattr(store_module, "BIG_PIXELS", 1 if big else 10**9)
    loop = asyncio.get_running_loop()
    begun: asyncio.Queue[bytes] = asyncio.Queue()
    go = threading.Event()

    def slow(data: bytes, info: ImageInfo) -> bytes:
        loop.call_soon_threadsafe(begun.put_nowait, data)
        go.wait()
        return b"rendition"

    monkeypatch.setattr(store_module, "render", slow)
    store = ImageStore(Objects.open("memory:///"), concurrency=2 if big else 1)
    slots = store._big if big else store._slots
    left = asyncio.create_task(store.render(photos.png(8, 8)))
    try:
        await begun.get()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert slots.locked()
        second = asyncio.create_task(store.render(photos.png(9, 9)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(begun.get(), 0.2)
    finally:
        go.set()
    assert (await second)[1] == b"rendition"
    await store.close()
    assert not slots.locked()


async def test_records_are_read_as_they_were_written():
    """A record's encoding carries every field."""
    store = ImageStore(Objects.open("memory:///"))
    for name in ("jpeg", "gif animated", "png 16 bit"):
        record, _ = await store.create(LOCAL, photos.SAMPLES[name]())
        assert ImageRecord.decode(record.encode()) == record
