"""Objects: what every kind of store does alike, durability, and whose errors come out."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import obstore.exceptions
import pytest
from obstore.store import MemoryStore, S3Store

from services import errors
from services.media.folder import Folder, WouldBlock
from services.media.objects import RETRY, Objects
from tests.media.sync_spy import SyncSpy

KINDS: dict[str, Callable[[Path], Objects]] = {
    "folder": lambda path: Objects.open(path / "a" / "b"),
    "file URL": lambda path: Objects.open(f"file://{path}/objects"),
    "memory": lambda path: Objects.open("memory:///"),
}


@pytest.fixture(params=KINDS)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return KINDS[request.param](tmp_path)


@pytest.mark.parametrize("durable", [False, True])
async def test_what_is_put_is_got(objects: Objects, durable: bool):
    """An object reads back whole, empty ones too, and the last write wins."""
    for data in (b"", b"one", b"two" * 100_000):
        await objects.put("a/b/c.bin", data, durable=durable)
        assert await objects.get("a/b/c.bin") == data
        assert await objects.size("a/b/c.bin") == len(data)


async def test_exchange_is_for_who_knows_what_is_there(objects: Objects):
    """An object is replaced when it is what was expected, and else stays as it is."""
    assert not await objects.exchange("a/b", b"", b"no")
    assert await objects.exchange("a/b", None, b"one")
    assert not await objects.exchange("a/b", None, b"no")
    assert not await objects.exchange("a/b", b"on", b"no")
    assert await objects.get("a/b") == b"one"
    assert await objects.exchange("a/b", b"one", b"")
    assert await objects.exchange("a/b", b"", b"two")
    assert await objects.get("a/b") == b"two"


async def test_exchanges_at_once_lose_nothing(objects: Objects):
    """Of many who add to one object at the same time each one's addition is there in the end."""

    async def add(word: bytes) -> None:
        while True:
            before = await objects.get("a/b")
            if await objects.exchange("a/b", before, (before or b"") + word):
                return

    await asyncio.gather(*(add(b"%d," % number) for number in range(20)))
    words = (await objects.get("a/b") or b"").split(b",")
    assert sorted(words) == sorted([*(b"%d" % number for number in range(20)), b""])


async def test_exchange_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What was exchanged has been synced, and its name too."""
    objects = Objects.open(tmp_path / "root")
    spy = SyncSpy(monkeypatch)
    await objects.exchange("a/b", None, b"1")
    assert [path.name.partition("#")[0] for path in spy.files] == ["b"]
    assert {path.name for path in spy.folders} == {"a", "root"}


async def test_what_is_not_there_is_none(objects: Objects):
    """A missing object is None, not an error, and deleting it is none either."""
    assert await objects.get("a/b") is None
    assert await objects.size("a/b") is None
    assert not await objects.exists("a/b")
    await objects.delete("a/b", durable=True)
    assert not await objects.delete_folder("a")
    assert await objects.list("a") == []


async def test_lists_and_deletes_by_folder(objects: Objects):
    """A folder's objects are listed sorted, and deleted without touching its neighbours'."""
    await objects.put_all({"a/1/y": b"y", "a/1/x": b"x", "a/11/z": b"z"})
    assert await objects.list("a/1") == ["a/1/x", "a/1/y"]
    assert await objects.delete_folder("a/1")
    assert await objects.list("a") == ["a/11/z"]
    await objects.delete("a/11/z")
    assert await objects.list("a") == []


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/../b", "a b", "a/.b", "a#1"])
async def test_only_plain_paths(objects: Objects, path: str):
    """A path that could mean something else to some store is refused by every one."""
    with pytest.raises(errors.Internal):
        await objects.put(path, b"")
    with pytest.raises(errors.Internal):
        await objects.get(path)


async def test_durable_put_syncs_file_and_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A durable write returns after the file and each folder up to the root were synced."""
    objects = Objects.open(tmp_path / "root")
    spy = SyncSpy(monkeypatch)
    await objects.put_all({"a/b/one": b"1", "a/b/two": b"2"}, durable=True)
    root = tmp_path / "root"
    # Under the names that they had while they were written: see below.
    assert [Path(str(file).partition("#")[0]) for file in spy.files] == [
        root / "a/b/one",
        root / "a/b/two",
    ]
    assert spy.folders == [root / "a/b", root / "a", root]


async def test_folders_that_are_durable_are_not_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only an object's folder and the one above it are, until that one was removed meanwhile."""
    objects = Objects.open(tmp_path)
    await objects.put("a/b/c/one", b"1", durable=True)
    spy = SyncSpy(monkeypatch)
    await objects.put("a/b/d/one", b"1", durable=True)
    assert spy.folders == [tmp_path / "a/b/d", tmp_path / "a/b"]
    await objects.delete_folder("a/b/c")
    await objects.delete_folder("a/b/d")
    await objects.delete_folder("a/b")
    spy.folders.clear()
    await objects.put("a/b/d/one", b"1", durable=True)
    assert spy.folders == [tmp_path / "a/b/d", tmp_path / "a/b", tmp_path / "a"]


async def test_a_sync_that_failed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder is taken for durable only after its sync has ended well."""
    objects = Objects.open(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _raise(OSError("disk on fire")))
        with pytest.raises(errors.StoreUnavailable):
            await objects.put("a/b/c/one", b"1", durable=True)
    spy = SyncSpy(monkeypatch)
    await objects.put("a/b/c/one", b"1", durable=True)
    assert len(spy.folders) == 4


async def test_a_name_never_changes_to_what_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """New content is on the disk before it takes the place of the old, which was."""
    objects = Objects.open(tmp_path)
    await objects.put("a", b"old", durable=True)
    seen: list[bytes] = []
    SyncSpy(monkeypatch, lambda path: seen.append((tmp_path / "a").read_bytes()))
    await objects.put("a", b"new", durable=True)
    assert seen == [b"old", b"new"]


async def test_a_full_disk_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A write that fails half-way leaves what was there, and no half-written file."""
    objects = Objects.open(tmp_path)
    await objects.put("a", b"old")
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:2]) and full())

    def full() -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(errors.StoreUnavailable):
        await objects.put("a", b"newer", durable=True)
    monkeypatch.undo()
    assert await objects.get("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


async def test_touching_leaves_what_is_there(objects: Objects):
    """An object is made empty when it is missing, and else kept."""
    await objects.put("a/b", b"kept")
    await objects.put_all({}, touch=["a/b", "a/c"], durable=True)
    assert await objects.get("a/b") == b"kept"
    assert await objects.get("a/c") == b""


async def test_appends_to_what_is_there(tmp_path: Path):
    """A folder's object grows by whole writes, and one that is not there is not made."""
    objects = Objects.open(tmp_path)
    assert objects.appends
    assert not await objects.append("a/b", b"1")
    assert os.listdir(tmp_path) == []
    await objects.put("a/b", b"")
    await asyncio.gather(*(objects.append("a/b", bytes([turn]) * 1000) for turn in range(50)))
    grown = await objects.get("a/b") or b""
    parts = {grown[start : start + 1000] for start in range(0, len(grown), 1000)}
    assert parts == {bytes([turn]) * 1000 for turn in range(50)}


async def test_a_full_disk_says_that_it_did_not_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An append of which only a part was written is StoreUnavailable."""
    objects = Objects.open(tmp_path)
    await objects.put("a", b"")
    monkeypatch.setattr(os, "write", lambda descriptor, data: 1)
    with pytest.raises(errors.StoreUnavailable):
        await objects.append("a", b"data")


async def test_clouds_do_not_append():
    """Where objects cannot grow, it is said so, and trying is a fault of ours."""
    objects = Objects.open("memory:///")
    assert not objects.appends
    with pytest.raises(errors.Internal):
        await objects.append("a", b"data")


async def test_looks_into_folders(objects: Objects):
    """One level at a time: names, folders, ages; and two levels at once."""
    before = datetime.now(UTC) - timedelta(seconds=5)
    await objects.put_all({"a/1/x": b"x", "a/1/y": b"y", "a/2/z": b"z", "a/w": b"w"})
    assert await objects.names("a") == ["1", "2", "w"]
    assert await objects.folders("a") == ["1", "2"]
    assert await objects.tree("a") == {"1": ["x", "y"], "2": ["z"]}
    ages = await objects.ages("a/1")
    assert sorted(ages) == ["x", "y"]
    assert all(before < age <= datetime.now(UTC) for age in ages.values())
    assert await objects.sizes(["a/1/x", "a/none", "a/w"]) == [1, None, 1]


async def test_looks_into_folders_that_are_not_there(objects: Objects):
    """Where nothing is, nothing is found, and it is no error."""
    assert await objects.names("a") == []
    assert await objects.folders("a") == []
    assert await objects.tree("a") == {}
    assert await objects.ages("a") == {}


async def test_half_written_files_are_seen_and_cleared(tmp_path: Path):
    """What killed writers left is listed where it matters, and goes when it is old enough."""
    objects = Objects.open(tmp_path)
    await objects.put("a/b/c", b"whole")
    (tmp_path / "a/b/c#12").write_bytes(b"ha")
    assert await objects.list("a") == ["a/b/c"]
    assert await objects.tree("a") == {"b": ["c", "c#12"]}
    now = datetime.now(UTC)
    assert await objects.clear_halves("a/b", now - timedelta(hours=1)) == 0
    assert await objects.clear_halves("a/b", now + timedelta(hours=1)) == 1
    assert os.listdir(tmp_path / "a/b") == ["c"]


async def test_put_that_need_not_last_syncs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A write that can be made again waits for no disk."""
    objects = Objects.open(tmp_path)
    spy = SyncSpy(monkeypatch)
    await objects.put("a/b", b"1")
    assert not spy.files
    assert not spy.folders


def test_new_root_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folders that opening a store makes are entries of synced folders."""
    spy = SyncSpy(monkeypatch)
    Objects.open(tmp_path / "x" / "y")
    assert set(spy.folders) == {tmp_path / "x", tmp_path}
    spy.folders.clear()
    Objects.open(tmp_path / "x" / "y")
    assert not spy.folders


async def test_nobody_sees_half_an_object(tmp_path: Path):
    """While an object is overwritten, readers see the old or the new, never a mixture."""
    objects = Objects.open(tmp_path)
    versions = [bytes([value]) * 300_000 for value in (1, 2)]
    await objects.put("a", versions[0])
    seen = set()

    async def write() -> None:
        for turn in range(100):
            await objects.put("a", versions[turn % 2])

    writing = asyncio.create_task(write())
    while not writing.done():
        seen.add(await objects.get("a"))
        await asyncio.sleep(0)
    await writing
    assert seen <= set(versions)


async def test_cold_file_is_read_by_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is not in the page cache is not waited for on the event loop, and arrives."""
    objects = Objects.open(tmp_path)
    await objects.put("a", b"cold" * 1000)
    monkeypatch.setattr(os, "preadv", _raise(BlockingIOError()))
    with pytest.raises(WouldBlock):
        Folder(tmp_path).read_cached("a")
    assert await objects.get("a") == b"cold" * 1000


async def test_file_system_without_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where reading without waiting is unknown, threads read, and the flag is not tried again."""
    objects = Objects.open(tmp_path)
    await objects.put("a", b"data")
    unknown = OSError(errno.EOPNOTSUPP, "unknown flag")
    monkeypatch.setattr(os, "preadv", _raise(unknown))
    assert await objects.get("a") == b"data"
    monkeypatch.setattr(os, "preadv", _raise(AssertionError("tried again")))
    assert await objects.get("a") == b"data"


def _foreign() -> list[type[Exception]]:
    """Every exception that obstore names, and what a file system raises."""
    named = vars(obstore.exceptions).values()
    ours = [kind for kind in named if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(ours) >= 10
    return [*ours, PermissionError, NotADirectoryError, TimeoutError, OSError, ValueError]


@pytest.mark.parametrize("kind", _foreign(), ids=lambda kind: kind.__name__)
async def test_no_foreign_error_is_unmapped(kind: type[Exception], monkeypatch: pytest.MonkeyPatch):
    """Whatever obstore raises, callers see StoreUnavailable without a word of its text."""
    objects = Objects(MemoryStore())
    called = "get_async put_async head_async delete_async list list_with_delimiter_async"
    for name in called.split():
        monkeypatch.setattr(obstore, name, _raise(kind("secret at 10.0.0.1")))
    calls: list[Callable[[], object]] = [
        lambda: objects.get("a"),
        lambda: objects.put("a", b""),
        lambda: objects.size("a"),
        lambda: objects.delete("a"),
        lambda: objects.delete_folder("a"),
        lambda: objects.list("a"),
        lambda: objects.sizes(["a"]),
        lambda: objects.names("a"),
        lambda: objects.folders("a"),
        lambda: objects.ages("a"),
        lambda: objects.tree("a"),
    ]
    for call in calls:
        with pytest.raises(errors.StoreUnavailable) as raised:
            await call()  # type: ignore[misc]
        assert "secret" not in raised.value.message


async def test_broken_folder_is_unavailable(tmp_path: Path):
    """A real failure of the file system, a file where a folder should be, is StoreUnavailable."""
    objects = Objects.open(tmp_path / "root")
    (tmp_path / "root" / "a").write_bytes(b"in the way")
    for call in (objects.get("a/b"), objects.put("a/b", b""), objects.size("a/b")):
        with pytest.raises(errors.StoreUnavailable):
            await call
    with pytest.raises(errors.StoreUnavailable):
        Objects.open(tmp_path / "root" / "a" / "b")


async def test_unreachable_cloud_is_unavailable(unused_tcp_port: int):
    """A cloud that does not answer is StoreUnavailable after a few tries."""
    store = S3Store(
        "bucket",
        endpoint=f"http://127.0.0.1:{unused_tcp_port}",
        client_options={"allow_http": True},
        skip_signature=True,
        region="eu-central-1",
        retry_config=RETRY,
    )
    with pytest.raises(errors.StoreUnavailable):
        await Objects(store).get("a")


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "nonsense://"])
def test_unknown_url_is_refused(url: str):
    """A URL that names no store is refused when the store is opened, by its name."""
    with pytest.raises(errors.InvalidArgument) as raised:
        Objects.open(url)
    assert raised.value.field == "store_url"


def _raise(error: Exception) -> Callable[..., object]:
    def fail(*_args: object, **_options: object) -> object:
        raise error

    return fail
