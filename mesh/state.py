"""The data directory of one mesh: everything that it writes, and who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mesh.errors import DataDirInUse, MeshError

DEFAULT: Final = Path(".visionmesh")
LOCK_PATIENCE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """One process as the launcher sees it; `started_at` is Unix time in seconds."""

    name: str
    replica: int
    port: int
    pid: int | None
    state: str
    reason: str
    started_at: float | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Run:
    """What `run.json` says about a running mesh.

    `config` is its configuration file, if any, and `url` where this machine finds its edge.
    """

    pid: int
    port: int
    version: str
    started_at: float
    processes: tuple[RunningProcess, ...]
    config: str | None = None
    url: str = ""


class DataDir:
    """The layout of a data directory.

    objects/        images and results, when the store is local
    cache/          Envoy's HTTP cache, when it is not in memory
    endpoints/      one file a process, watched by Envoy
    access/         who may call, watched by Envoy
    logs/           one file a replica
    mesh.yaml       the operator's decisions, if there are any
    keys.json       hashes of the callers' keys, if there are any
    token           the secret that Envoy and the processes share
    envoy.yaml      what Envoy was started with
    metrics.json    where Prometheus finds every process, of the mesh that was started last
    run.json        pids, ports and states, for `visionmesh status`
    control         a socket, by which `visionmesh restart` asks the launcher
    lock            held by the launcher
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.endpoints = self.root / "endpoints"
        self.access = self.root / "access"
        self.logs = self.root / "logs"
        self.envoy_config = self.root / "envoy.yaml"
        self.keys_file = self.root / "keys.json"
        self.token_file = self.root / "token"
        self.run_file = self.root / "run.json"
        self.control = self.root / "control"
        self.targets_file = self.root / "metrics.json"
        self.lock_file = self.root / "lock"

    def make(self) -> None:
        """Make the directory, closed to other users: images and verdicts are nobody else's.

        Raises OSError.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the directory and hold it against other meshes. Raises DataDirInUse, MeshError."""
        try:
            self.make()
            for folder in (self.endpoints, self.access, self.logs):
                folder.mkdir(exist_ok=True)
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise MeshError(f"--data {self.root}: {error.strerror}") from None
        try:
            self._lock(descriptor)
            self.control.unlink(missing_ok=True)  # of a mesh that was killed
            try:
                yield
            finally:
                self.run_file.unlink(missing_ok=True)
                self.control.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        give_up_at = time.monotonic() + LOCK_PATIENCE_S
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > give_up_at:  # not just `status`, which looks for a moment
                run = self.read_run()
                who = f" (pid {run.pid}, port {run.port})" if run else ""
                raise DataDirInUse(
                    f"another mesh{who} runs on {self.root}: stop it, or choose another "
                    "directory with --data"
                )
            time.sleep(0.02)

    def write_run(self, run: Run) -> None:
        """Replace `run.json` atomically."""
        _replace(self.run_file, asdict(run))

    def write_targets(self, targets: object) -> None:
        """Replace `metrics.json` atomically. Raises OSError."""
        _replace(self.targets_file, targets)

    def read_run(self) -> Run | None:
        """What `run.json` says, true or stale; None when there is none that can be read."""
        try:
            found = json.loads(self.run_file.read_text())
            processes = tuple(RunningProcess(**each) for each in found.pop("processes"))
            return Run(**found, processes=processes)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def token(self) -> str:
        """The mesh's token; empty when there is none, or it is not ours to read."""
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def running(self) -> Run | None:
        """The mesh that runs on this directory, or None."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY)
        except OSError:
            return None
        try:
            # A launcher that died, however it died, holds no lock any more.
            return None if _try_lock(descriptor, fcntl.LOCK_SH) else self.read_run()
        finally:
            os.close(descriptor)


def _replace(file: Path, content: object) -> None:
    draft = file.with_suffix(".json.new")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(file)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
