"""Where Envoy keeps cached answers: in memory when there is room, else on the disk.

Envoy makes a file of each answer. To create and write one of 4 KiB took 8 µs of CPU on tmpfs, and
13 to 275 µs on ext4: steadily little in memory, as the folder pleases on a disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
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
    """A folder for at most so many bytes; `passing` ones are removed when the mesh stops."""

    path: Path
    max_bytes: int = MAX_BYTES
    passing: bool = False

    def remove(self) -> None:
        """Give the memory back."""
        if self.passing:
            shutil.rmtree(self.path, ignore_errors=True)


def cache_dir(asked: Path | None, data: Path, memory: Path = MEMORY) -> CacheDir:
    """The folder asked for, else one in memory, else the data directory's; made, and private.

    Raises MeshError when it cannot be made.
    """
    if asked is None and (found := _in_memory(data, memory)):
        return found
    path = asked.absolute() if asked else data / "cache"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MeshError(f"{path}: {error.strerror}") from None
    return CacheDir(path)


def _in_memory(data: Path, memory: Path) -> CacheDir | None:
    """One data directory has one folder: what a killed mesh left behind is used again."""
    try:
        space = os.statvfs(memory)
        max_bytes = min(MAX_BYTES, space.f_bavail * space.f_frsize // SHARE)
        if max_bytes < MIN_BYTES:
            return None
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        path = memory / f"visionmesh-{os.getuid()}-{name}"
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError:
        return None
    # Anybody may write there: a folder that somebody else has put in our place is not ours.
    ours = found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700
    return CacheDir(path, max_bytes, passing=True) if ours and stat.S_ISDIR(found.st_mode) else None
