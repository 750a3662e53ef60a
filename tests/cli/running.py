"""The real command, and a mesh that it keeps running."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image

from mesh.ports import free_block
from mesh.state import DataDir, RunningProcess
from tests.cli.toys import alive

COMMAND = (sys.executable, "-c", "from mesh.cli import app; app()")


@dataclass
class Up:
    """A `visionmesh up` and where it runs."""

    process: subprocess.Popen[str]
    port: int
    data: DataDir
    pids: list[int] = field(default_factory=list)

    def running(self) -> dict[str, RunningProcess]:
        run = self.data.running()
        assert run is not None
        return {f"{each.name}.{each.replica}": each for each in run.processes}

    def pid(self, name: str) -> int:
        pid = self.running()[name].pid
        assert pid is not None
        return pid


def jpeg(colour: str = "green") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (320, 240), colour).save(out, "JPEG")
    return out.getvalue()


def command(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=env,
    )


@contextmanager
def up(directory: Path, *arguments: str) -> Iterator[Up]:
    """A mesh that has said it is ready; on leaving it is stopped, and nothing is left."""
    directory.mkdir(exist_ok=True)
    port = free_block()
    with (directory / "err").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, "up", "--port", str(port), "--data", "data", *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready http://127.0.0.1:{port}\n", (
            directory / "err"
        ).read_text()
        mesh = Up(process, port, DataDir(directory / "data"))
        mesh.pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        yield mesh
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert not any(map(alive, mesh.pids))
