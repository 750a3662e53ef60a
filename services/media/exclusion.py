"""One write or deletion of an image at a time, in this process and in all on this machine.

For the moments in which one images process takes over from another: both finish what they have
begun. Of several machines there must be one images process at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from services.errors import StoreUnavailable

FILE: Final = "images.lock"

RETRY_S: Final = 0.01
"""How soon is looked again whether another process is done; the system tells nobody."""

_OFFSET_DIGITS: Final = 14
"""Of a digest, as the place of a byte in the file: two images do not share one."""


class Exclusion:
    """Whose turn it is with an image, by its digest."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where other processes look too; None is for one process alone."""
        self._folder = folder
        self._descriptor: int | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def alone(self, digest: str) -> AsyncIterator[None]:
        """Have an image to oneself. Raises StoreUnavailable when the folder takes no file."""
        lock = self._locks.get(digest)
        if lock is None:
            lock = self._locks[digest] = asyncio.Lock()
        async with lock:
            if self._folder is None:
                yield
                return
            descriptor = self._opened(self._folder)
            # The process's lock on one byte, which need not be there. It ends with the process.
            place = int(digest[:_OFFSET_DIGITS], 16)
            while not _taken(descriptor, place):  # noqa: ASYNC110, another process meets it
                await asyncio.sleep(RETRY_S)
            try:
                yield
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)

    def _opened(self, folder: Path) -> int:
        # Once: closing any descriptor of the file would give up all locks of the process.
        if self._descriptor is None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise StoreUnavailable(f"{folder / FILE}: {error.strerror}") from None
        return self._descriptor


def _taken(descriptor: int, place: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except BlockingIOError:
        return False
    return True
