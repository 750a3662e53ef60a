"""Objects as files below one folder: the parts that obstore's local store leaves open.

obstore writes a file under another name and renames it, so that nobody sees half of one, but it
never syncs, and a read through it costs ten times a read of the page cache.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""Linux: read what is in the page cache, or fail at once (preadv2(2))."""

_UNKNOWN_FLAG: Final = (errno.EOPNOTSUPP, errno.EINVAL)


class WouldBlock(Exception):
    """The file's content is not in memory: reading it would wait for a disk."""


class Folder:
    """A folder of objects. Every method blocks, but for `read_cached`; raises OSError."""

    def __init__(self, root: Path) -> None:
        """Make the folder and sync the ones above it that had to be made too."""
        self.root = root.absolute()
        missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync(path.parent)
        self._prefix = f"{self.root}/"
        self._nowait = bool(_NOWAIT)

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
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """An object's length in bytes, or None when there is none."""
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def sync(self, paths: Iterable[str]) -> None:
        """Make objects survive a power cut: each file, then every folder from theirs to the root.

        All of them each time: which folders a write made cannot be told from outside when two
        writers meet, and syncing a clean folder costs 0.09 ms.
        """
        folders: set[Path] = set()
        for path in paths:
            file = self.root / path
            sync(file)
            folders.update(self._above(file))
        for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
            sync(folder)

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
        for file in files:
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # somebody may have written into it meanwhile
        return True

    def _above(self, file: Path) -> list[Path]:
        return [folder for folder in file.parents if folder.is_relative_to(self.root)]


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
