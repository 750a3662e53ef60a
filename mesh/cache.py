"""Where Envoy keeps cached answers: in memory when there is room, else on the disk.

Envoy makes a file of each answer. To create and write one of 4 KiB took 8 µs of CPU on tmpfs, and
13 to 275 µs on ext4: steadily little in memory, as the folder pleases on a disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.errors import MeshError

MEMORY: Final = Path("/dev/shm")
MIB: Final = 1 << 20
MAX_BYTES: Final = 256 * MIB

SHARE: Final = 4
"""The cache takes at most this part of what is free in memory: others live there too."""

MIN_BYTES: Final = 16 * MIB
"""With less it is not worth having. It is a quarter of the 64 MiB that containers often get."""


@dataclass(frozen=True, slots=True)
class CacheDir:
    """A folder for at most so many bytes."""

    path: Path
    max_bytes: int = MAX_BYTES


@contextmanager
def cache_dir(asked: Path | None, data: Path, memory: Path = MEMORY) -> Iterator[CacheDir]:
    """The folder asked for, else one in memory, else the data directory's; made, and private.

    What is in memory is removed on leaving. Raises MeshError when the folder cannot be made.
    """
    with ExitStack() as stack:
        if asked is None and (max_bytes := _room(memory)):
            path = stack.enter_context(_in_memory(data, memory))
            if path is not None:
                yield CacheDir(path, max_bytes)
                return
        path = asked.absolute() if asked else data / "cache"
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise MeshError(f"{path}: {error.strerror}") from None
        yield CacheDir(path)


def _room(memory: Path) -> int:
    """Bytes that the cache may take in memory; 0 when it is not worth it."""
    try:
        space = os.statvfs(memory)
    except OSError:
        return 0
    share = min(MAX_BYTES, space.f_bavail * space.f_frsize // SHARE)
    return share if share >= MIN_BYTES else 0


@contextmanager
def _in_memory(data: Path, memory: Path) -> Iterator[Path | None]:
    """A data directory's folder, held for as long as the context lasts; None when it is not ours.

    What meshes that were killed have left behind is removed: nobody else would.
    """
    stem = f"visionmesh-{os.getuid()}-"
    path = memory / (stem + hashlib.sha256(os.fsencode(data)).hexdigest()[:16])
    for left in memory.glob(f"{stem}*"):
        with _held(left) as held:
            if held:
                shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        path.mkdir(mode=0o700)
    with _held(path) as held:
        try:
            yield path if held else None
        finally:
            if held:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether a folder is ours alone and no running mesh's; nobody else's while this lasts."""
    try:
        # Anybody may write there: what somebody else has put in our place is not followed.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        found = os.fstat(descriptor)
        ours = found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700
        yield ours and _locked(descriptor) and path.exists()
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """A launcher that died, however it died, holds no lock any more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
