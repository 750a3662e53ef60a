"""A disk that is full while a mesh runs: what the launcher cannot write ends no supervision."""

from __future__ import annotations

import errno
import io
import os
import signal
from pathlib import Path

import pytest

from mesh.launcher import Mesh
from mesh.ports import free_block
from mesh.programs import MeshOptions
from mesh.state import DataDir, Run


async def test_restarts_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process that dies while nothing can be written is started again, and all of it stops."""
    log = io.StringIO()
    mesh = Mesh(MeshOptions(port=free_block(), data_dir=tmp_path), stream=log)

    def full(data: DataDir, run: Run) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with mesh.running():
        await mesh.wait_ready()
        monkeypatch.setattr(DataDir, "write_run", full)
        old = mesh.pid("moderation")
        os.kill(old, signal.SIGKILL)
        assert await mesh.wait_restarted("moderation", old) != old
    assert "No space left on device" in log.getvalue()
