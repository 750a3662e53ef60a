"""Where Envoy's cache is: in memory when there is room and nobody else's folder in the way."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

import pytest

from mesh.cache import MAX_BYTES, MIB, cache_dir
from mesh.errors import MeshError


@pytest.fixture
def memory(tmp_path):
    """A folder that stands for the memory's file system."""
    path = tmp_path / "memory"
    path.mkdir()
    return path


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


def room(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    space = SimpleNamespace(f_bavail=free_bytes // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: space)


def test_in_memory_when_there_is_room(memory, data, monkeypatch):
    """With room the cache is a private folder in memory that goes when the mesh stops."""
    room(monkeypatch, 1 << 40)
    with cache_dir(None, data, memory) as found:
        assert found.path.parent == memory
        assert stat.S_IMODE(found.path.stat().st_mode) == 0o700
        assert found.max_bytes == MAX_BYTES
        (found.path / "entry").touch()
    assert list(memory.iterdir()) == []


def test_a_share_of_little_room(memory, data, monkeypatch):
    """Of little memory the cache takes a quarter; of too little, none: it is on the disk then."""
    room(monkeypatch, 64 * MIB)
    with cache_dir(None, data, memory) as found:
        assert found.max_bytes == 16 * MIB
    room(monkeypatch, 63 * MIB)
    with cache_dir(None, data, memory) as found:
        assert (found.path, found.max_bytes) == (data / "cache", MAX_BYTES)


def test_the_disk_where_there_is_no_such_memory(memory, data):
    """A machine without the file system has the cache in the data directory, which keeps it."""
    with cache_dir(None, data, memory / "none") as found:
        assert found.path == data / "cache"
    assert found.path.is_dir()


def test_each_data_directory_has_its_own(memory, data, monkeypatch):
    """Two meshes never share a folder, and neither removes the other's."""
    room(monkeypatch, 1 << 40)
    with cache_dir(None, data, memory) as found:
        with cache_dir(None, data / "other", memory) as other:
            assert other.path != found.path
        assert found.path.is_dir()
        assert list(memory.iterdir()) == [found.path]


def test_what_killed_meshes_left_is_removed(memory, data, monkeypatch):
    """The memory that a killed mesh took is given back by the next one, of whatever directory."""
    room(monkeypatch, 1 << 40)
    with cache_dir(None, data / "killed", memory) as found:
        left = found.path
    left.mkdir(mode=0o700)
    (left / "entry").touch()
    with cache_dir(None, data, memory) as found:
        assert list(memory.iterdir()) == [found.path]


@pytest.mark.parametrize("way", ["link", "file", "open to others"])
def test_a_strangers_folder_is_not_used(memory, data, monkeypatch, way, tmp_path):
    """What somebody else has put in the folder's place is left alone, and the disk is used."""
    room(monkeypatch, 1 << 40)
    with cache_dir(None, data, memory) as found:
        mine = found.path
    (tmp_path / "theirs").mkdir(mode=0o700)
    if way == "link":
        mine.symlink_to(tmp_path / "theirs")
    elif way == "file":
        mine.touch()
    else:
        mine.mkdir()
        mine.chmod(0o777)
    with cache_dir(None, data, memory) as found:
        assert found.path == data / "cache"
    assert list(memory.iterdir()) == [mine]
    assert (tmp_path / "theirs").is_dir()


def test_the_one_asked_for(memory, data, tmp_path):
    """A folder that was asked for is taken, made, kept private, and left when the mesh stops."""
    with cache_dir(tmp_path / "a" / "b", data, memory) as found:
        assert found.path == tmp_path / "a" / "b"
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with (
        pytest.raises(MeshError, match=r"file/c: Not a directory"),
        cache_dir(tmp_path / "file" / "c", data, memory),
    ):
        raise AssertionError("made below a file")
