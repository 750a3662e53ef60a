"""Objects as files below one folder: what obstore's local store does not do as is needed here.

obstore writes a file under another name and renames it, so that nobody sees half of one, but it
never syncs: after a power cut the new name may name nothing, where the old content was durable. It
cannot append, and a read through it costs ten times a read of the page cache.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""Linux: read what is in the page cache, or fail at once (preadv2(2))."""

HALF: Final = "#"
"""Stands in the name of a file that is being written, before a number: obstore's own mark, which
its listings leave out. A writer that was killed leaves such a file behind."""

LOCK: Final = ".lock"
"""Ends the name of the empty file by which those who exchange an object wait for each other."""

_UNKNOWN_FLAG: Final = (errno.EOPNOTSUPP, errno.EINVAL)


class WouldBlock(Exception):
    """The file's content is not in memory: reading it would wait for a disk."""


class Folder:
    """A folder of objects. Every method blocks, but for `read_cached`; raises OSError.

    `size` waits for a folder's entry at most.
    """

    def __init__(self, root: Path) -> None:
        """Make the folder and sync the ones above it that had to be made too."""
        self.root = root.absolute()
        missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync(path.parent)
        self._prefix = f"{self.root}/"
        self._nowait = bool(_NOWAIT)
        self._named: frozenset[str] = frozenset()
        """Folders whose entries in the ones above them are on the disk."""

    def read_cached(self, path: str) -> bytes | None:
        """An object from the page cache, None when there is none. Raises WouldBlock.

        Fit for an event loop: the file's data is never waited for, and the call costs a tenth of a
        thread's or obstore's for a small object (docs/decisions/reading-objects.md).
        """
        if not self._nowait:
            raise WouldBlock(path)
        try:
            descriptor = os.open(self._prefix + path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            data = bytearray(os.fstat(descriptor).st_size)
            if not data:
                return b""
            if os.preadv(descriptor, [data], 0, _NOWAIT) < len(data):
                raise WouldBlock(path)
            return bytes(data)
        except BlockingIOError as error:
            raise WouldBlock(path) from error
        except OSError as error:
            if error.errno not in _UNKNOWN_FLAG:
                raise
            self._nowait = False  # this file system does not know it: threads read from now on
            raise WouldBlock(path) from error
        finally:
            os.close(descriptor)

    def read(self, path: str) -> bytes | None:
        """An object, or None when there is none."""
        try:
            descriptor = os.open(self._prefix + path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return _read_all(descriptor)
        finally:
            os.close(descriptor)

    def size(self, path: str) -> int | None:
        """An object's length in bytes, or None when there is none."""
        try:
            return os.stat(self._prefix + path).st_size
        except FileNotFoundError:
            return None

    def write(self, objects: Mapping[str, bytes], touch: Iterable[str], *, durable: bool) -> None:
        """Make empty objects where there are none, then write others, each whole or not at all.

        When `durable`, each has its content on the disk before it has its name, so that a power cut
        leaves the old content or the new, and all names are when this returns.
        """
        for path in touch:
            os.close(self._open(path, os.O_WRONLY | os.O_CREAT))
        for path, data in objects.items():
            self._write(path, data, durable=durable)
        if durable:
            self.sync([*touch, *objects])

    def _write(self, path: str, data: bytes, *, durable: bool) -> None:
        half = f"{path}{HALF}{random.getrandbits(63)}"
        try:
            descriptor = self._open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                _write_all(descriptor, data)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(self._prefix + half, self._prefix + path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(self._prefix + half)
            raise

    def _open(self, path: str, flags: int) -> int:
        """Open a file for writing, in a folder that is made when missing."""
        file = self._prefix + path
        while True:
            try:
                return os.open(file, flags, 0o666)
            except FileNotFoundError:
                # Again and again: a deletion may remove the folder before the file is in it.
                os.makedirs(os.path.dirname(file), exist_ok=True)

    def append(self, path: str, data: bytes) -> bool:
        """Add to the end of an object, in one write; False when there is no such object.

        Never makes one: what was deleted stays deleted. Raises OSError when not all of it was
        written, as on a full disk; a reader must bear with a part at the end.
        """
        try:
            descriptor = os.open(self._prefix + path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return False
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, "only a part was written")
        finally:
            os.close(descriptor)
        return True

    def sync(self, paths: Iterable[str]) -> None:
        """Make the names of objects survive a power cut: their folders', and those above them.

        Up to one whose own name this process has made durable before: a clean folder costs 0.09 ms
        to sync. Which folders a write made cannot be told when two writers meet. Folders of objects
        are not remembered, as there are as many as images.
        """
        folders: set[str] = set()
        named: set[str] = set()
        for path in paths:
            above = _above(path)
            folders.add(above[0])
            for folder, parent in pairwise(above):
                if folder in self._named:
                    break
                folders.add(parent)
                named.add(folder)
            named.discard(above[0])
        for folder in sorted(folders, key=lambda folder: -len(_above(folder))):
            sync(f"{self._prefix}{folder}")
        if not named <= self._named:
            self._named |= named

    def exchange(self, path: str, expected: bytes | None, data: bytes) -> bool:
        """Replace an object durably if it is what is `expected`, None for none; else False.

        Nobody comes between who exchanges here too: a lock on a file beside it, which the system
        lets go of when its holder dies. Plain writes are not kept out.
        """
        descriptor = self._open(f"{path}{LOCK}", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self.read(path) != expected:
                return False
            self.write({path: data}, (), durable=True)
            return True
        finally:
            os.close(descriptor)

    def names(self, path: str) -> list[str]:
        """What is directly in a folder, half-written files and folders too; sorted."""
        try:
            return sorted(os.listdir(self._prefix + path))
        except FileNotFoundError:
            return []

    def tree(self, path: str) -> dict[str, list[str]]:
        """The folders directly in a folder, and what is in each, as `names` says."""
        return {name: self.names(f"{path}/{name}") for name in self.folders(path)}

    def folders(self, path: str) -> list[str]:
        """The names of the folders directly in a folder, sorted."""
        try:
            with os.scandir(self._prefix + path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []

    def ages(self, path: str) -> dict[str, datetime]:
        """The files directly in a folder, half-written ones too, and when each was last written."""
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._prefix + path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    if entry.is_file():
                        found[entry.name] = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
        return found

    def clear_halves(self, path: str, before: datetime) -> int:
        """Remove the half-written files directly in a folder that are older; how many."""
        ages = self.ages(path)
        old = [name for name, written in ages.items() if HALF in name and written < before]
        for name in old:
            (self.root / path / name).unlink(missing_ok=True)
        return len(old)

    def delete(self, path: str, *, durable: bool) -> bool:
        """Remove an object; False when there was none."""
        file = self.root / path
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        if durable:
            sync(file.parent)
        return True

    def delete_folder(self, path: str) -> bool:
        """Remove all files of a folder, half-written ones too; False when it is not there."""
        folder = self.root / path
        try:
            files = list(folder.iterdir())
        except FileNotFoundError:
            return False
        self._named -= {path}
        for file in files:
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # somebody may have written into it meanwhile
        return True


def _above(path: str) -> list[str]:
    """The folders of a path, the nearest first; the last is the root, an empty path."""
    above = []
    while path:
        path = path.rpartition("/")[0]
        above.append(path)
    return above


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    # A system call gives at most 2 GiB, and may give less.
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def sync(path: Path | str) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
