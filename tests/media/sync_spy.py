"""A real fsync that remembers."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest


class SyncSpy:
    """Remembers which files and folders were synced, in order, and calls the real fsync.

    `before` is called with each path before it is synced.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        before: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.files: list[Path] = []
        self.folders: list[Path] = []
        self._before = before
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        self._before(path)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        (self.folders if is_folder else self.files).append(path)
        self._fsync(descriptor)
