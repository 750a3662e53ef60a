"""The files in which entries wait for the database: appended to, and taken from in order."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from services.audit.entry import Entry, entries, frame

SEGMENT_BYTES: Final = 1 << 20
"""From here on a file is finished and the next one begun; the database has it in one piece."""

_SUFFIX: Final = ".spool"
_LOCK: Final = ".lock"
_DAMAGED: Final = ".damaged"
_REFUSED: Final = ".refused"
_NAMED: Final = 3
"""Files that are named when they are listed for a person."""

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Segment:
    """One file: up to `size` it is written, up to `taken` its entries are in the database."""

    path: Path
    size: int = 0
    taken: int = 0
    waiting: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What `Spool.take` found: entries in order, and how many bytes were none."""

    segment: _Segment
    end: int
    entries: list[Entry]
    unreadable: int


class Spool:
    """The spool of one replica: `<name>.<time>.spool` in a folder, and `<name>.lock`.

    One thread appends, one takes; both block. A file is never appended to by another process than
    the one that began it. What earlier processes left behind is taken first, also of replicas that
    do not run any more: their lock is free. Nothing is written before it is needed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = _UNFIT.sub("-", name)
        self._lock = threading.Lock()  # of the fields: never held while a disk is waited for
        self._beginning = threading.Lock()  # of a file, and of looking for such
        self._writing = threading.Lock()  # of the current file's length
        self._held: int | None = None
        self._held_name = ""
        self._descriptor: int | None = None
        self._current: _Segment | None = None
        self._finished: deque[_Segment] = deque()
        self._named = True
        self._aside: set[str] = set()

    @property
    def aside(self) -> str:
        """Files that a person has to look at, in a few words; empty when there are none."""
        with self._lock:
            names = sorted(self._aside)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"for a person to look at: {', '.join(names[:_NAMED])}{more}" if names else ""

    @property
    def waiting(self) -> int:
        """Entries that are in the files and not in the database, as far as it is known."""
        with self._lock:
            current = self._current.waiting if self._current else 0
            return current + sum(segment.waiting for segment in self._finished)

    def adopt(self) -> None:
        """Find what earlier processes left behind. Raises OSError."""
        if not self._folder.is_dir():
            return
        left: list[Path] = []
        with self._beginning:
            for lock in self._folder.glob(f"*{_LOCK}"):
                with self._spared(lock):
                    left += self._left(lock)
        for path in sorted(left, key=lambda path: path.suffixes):  # by their time
            with self._spared(path):
                self._adopt(path)

    def _left(self, lock: Path) -> list[Path]:
        """The files of a name that no other process has."""
        descriptor = os.open(lock, os.O_RDWR)
        try:
            # While this is locked nobody begins a file of this name.
            if lock.stem == self._held_name or _locked(descriptor):
                return list(self._folder.glob(f"{lock.stem}.*{_SUFFIX}"))
            return []
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _spared(self, path: Path) -> Iterator[None]:
        """One file that cannot be read keeps nobody from all the others."""
        try:
            yield
        except OSError as error:
            self._leave(path, str(error))

    def _leave(self, path: Path, reason: str) -> None:
        _log.error("left for a person, in the audit spool", file=path.name, reason=reason)
        with self._lock:
            self._aside.add(path.name)

    def _adopt(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return  # somebody else has adopted it too, and was faster
        waiting = sum(isinstance(each, Entry) for each in entries(data))
        with self._lock:
            ours = [*self._finished, self._current]
            if any(segment and segment.path == path for segment in ours):
                return
            self._finished.append(_Segment(path, size=len(data), waiting=waiting))

    def append(self, frames: list[bytes]) -> None:
        """Write entries: all of them, or none. Raises OSError."""
        segment = self._current or self._begin()
        descriptor = self._descriptor
        assert descriptor is not None
        data = b"".join(frames)
        with self._writing:
            try:
                written = os.pwrite(descriptor, data, segment.size)
                while written < len(data):
                    written += os.pwrite(descriptor, data[written:], segment.size + written)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, segment.size)
                raise
            with self._lock:
                segment.size += len(data)
                segment.waiting += len(frames)
        if segment.size >= SEGMENT_BYTES:
            self._finish(segment)

    def sync(self) -> None:
        """Wait until what was appended is on the disk. Raises OSError."""
        if self._descriptor is None:
            return
        os.fsync(self._descriptor)
        if not self._named:
            _sync_folder(self._folder)
            self._named = True

    def take(self) -> Chunk | None:
        """The oldest entries that are not in the database yet. Raises OSError.

        A finished file with nothing in it is a chunk too: `done` removes it.
        """
        with self._lock:
            segment = self._finished[0] if self._finished else self._current
            if segment is None:
                return None
            begin, end = segment.taken, segment.size
            if begin == end and segment is self._current:
                return None
        found = list(entries(self._read(segment, begin, end)))
        taken = [each for each in found if isinstance(each, Entry)]
        return Chunk(segment, end, taken, sum(each for each in found if isinstance(each, int)))

    def _read(self, segment: _Segment, begin: int, end: int) -> bytes:
        with self._writing:
            if segment is self._current and self._descriptor is not None:
                # By its name it might not be there any more.
                return os.pread(self._descriptor, end - begin, begin)
        with segment.path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    def done(self, chunk: Chunk) -> None:
        """The entries of a chunk are in the database: forget them. Raises OSError."""
        segment = chunk.segment
        with self._writing:
            with self._lock:
                segment.taken = chunk.end
                segment.unreadable += chunk.unreadable
                segment.waiting -= len(chunk.entries)
                if segment.taken < segment.size:
                    return  # more has been appended since
                if segment is not self._current:
                    self._finished.remove(segment)
                else:
                    segment.size = segment.taken = segment.unreadable = 0
            if segment is self._current:
                assert self._descriptor is not None
                os.ftruncate(self._descriptor, 0)
                return
        if not segment.unreadable:
            segment.path.unlink(missing_ok=True)
            return
        damaged = segment.path.with_suffix(_DAMAGED)
        with contextlib.suppress(FileNotFoundError):  # adopted twice
            segment.path.rename(damaged)
            self._leave(damaged, f"{segment.unreadable} bytes are not readable")

    def set_aside(self, refused: Sequence[Entry]) -> None:
        """Keep what the database will never take, for a person. Raises OSError."""
        if not refused:
            return
        path = self._folder / f"{self._held_name or self._name}{_REFUSED}"
        with path.open("ab") as file:
            file.write(b"".join(map(frame, refused)))
            file.flush()
            os.fsync(file.fileno())
        self._leave(path, f"the database refused {len(refused)} entries")

    def put_aside(self) -> bool:
        """Go on with the next file, and leave the oldest for a person; False when there is none."""
        with self._lock:
            unread = self._finished[0].path if self._finished else None
        if unread:
            self._leave(unread, "is not readable")
        return self.skip()

    def skip(self) -> bool:
        """Go on with the next file; False when there is none."""
        with self._lock:
            if not self._finished:
                return False
            self._finished.popleft()
            return True

    def close(self) -> None:
        """Sync what is there, and remove what holds nothing any more."""
        with contextlib.suppress(OSError):
            self.sync()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._current and self._current.taken == self._current.size:
            self._current.path.unlink(missing_ok=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _begin(self) -> _Segment:
        """A new file, that no process has had before."""
        with self._beginning:
            if self._held is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._hold()
            return self._begun()

    def _begun(self) -> _Segment:
        path = self._folder / f"{self._held_name}.{time.time_ns():016x}{_SUFFIX}"
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._named = False
        segment = _Segment(path)
        with self._lock:
            self._current = segment
        return segment

    def _finish(self, segment: _Segment) -> None:
        assert self._descriptor is not None
        try:
            self.sync()
        except OSError as error:
            _log.error("audit spool not synced", file=segment.path.name, error=str(error))
        with self._writing, self._lock:
            self._current = None
            self._finished.append(segment)
        os.close(self._descriptor)
        self._descriptor = None

    def _hold(self) -> None:
        """Lock this name against other processes; where one has it, a similar one."""
        name, number = self._name, 1
        while True:
            path = self._folder / f"{name}{_LOCK}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if _locked(descriptor):
                    self._held_name, self._held = name, descriptor
                    return
            finally:
                if self._held is None:
                    os.close(descriptor)
            number += 1
            name = f"{self._name}-{number}"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
