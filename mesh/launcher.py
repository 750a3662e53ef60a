"""One whole mesh on this machine: Envoy and every process of the catalog, started and stopped.

`visionmesh up` is this with a terminal around it; tests and benchmarks use `running_mesh`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from mesh import admin, ports, proxy
from mesh.child import Child, Pace, State
from mesh.errors import MeshError, StartFailed
from mesh.health import HttpProbe, Unhealthy
from mesh.logs import LAUNCHER, MAX_FILE_BYTES, MeshLog, Style
from mesh.ports import HOST
from mesh.programs import MeshOptions, envoy_program, proxy_settings, service_programs
from mesh.state import DataDir, Run, RunningProcess
from mesh.supervisor import Supervisor
from mesh.version import version
from services.catalog import PROCESSES

GRACE_S: Final = 3.0
"""How long each tier of processes may take to finish what it has begun."""

START_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.05
TIDY_INTERVAL_S: Final = 10.0


class Mesh:
    """A mesh that is started by entering `running`."""

    def __init__(
        self,
        options: MeshOptions,
        *,
        stream: TextIO | None = None,
        style: Style | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`stream` takes the one log of all processes. Raises InvalidOption."""
        self.options = options
        self.data = DataDir(options.data_dir)
        self.replicas = ports.replicas_of(options.replicas)
        self.edge_url = f"http://{HOST}:{options.port}"
        self.mesh_address = options.mesh_address
        self.admin_url = f"http://{HOST}:{options.admin_port}"
        self._programs = [*service_programs(options, self.data, self.replicas)]
        self._programs.append(envoy_program(options, self.data))
        titles = [program.title for program in self._programs]
        self._log = MeshLog(self.data.logs, stream, style or Style(), titles)
        self._pace = pace
        self._version = version()
        self._started_at = 0.0
        self._endpoints: dict[str, list[tuple[str, int]]] = {}
        self._supervisor: Supervisor | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything, and stop everything on leaving.

        Nothing is waited for: see `wait_ready`. Raises PortInUse, DataDirInUse and MeshError before
        any process is started.
        """
        with self.data.held():
            ports.check_free(self.options.port, self.replicas)
            self._prepare_envoy()
            self._started_at = time.time()
            supervisor = Supervisor(
                self._programs, self._log, pace=self._pace, on_change=self._on_change
            )
            self._supervisor = supervisor
            supervisor.start()
            tidying = asyncio.create_task(self._keep_access_log_short())
            try:
                yield
            finally:
                tidying.cancel()
                await supervisor.stop(GRACE_S)
                self._log.close()

    async def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until every process is healthy, for itself, for Envoy and through the edge.

        Raises StartFailed.
        """
        try:
            await self._running().wait_healthy(timeout_s)
        except StartFailed as error:
            raise StartFailed(f"{error}; its log is in {self.data.logs}") from None
        try:
            async with asyncio.timeout(timeout_s):
                await self._wait_routed()
                await self._wait_edge()
        except TimeoutError:
            raise StartFailed(f"Envoy does not route within {timeout_s:g} s") from None

    async def wait_restarted(
        self, name: str, old_pid: int, *, replica: int = 0, timeout_s: float = START_TIMEOUT_S
    ) -> int:
        """Wait until another process than `old_pid` serves a replica; its pid.

        Raises TimeoutError.
        """
        child = self._child(name, replica)
        async with asyncio.timeout(timeout_s):
            await self._running().wait_until(
                lambda: child.state is State.HEALTHY and child.pid not in (None, old_pid), timeout_s
            )
            await self._wait_routed()
        return self.pid(name, replica)

    def pid(self, name: str, replica: int = 0) -> int:
        """The process that is a replica now. Raises StartFailed when there is none."""
        pid = self._child(name, replica).pid
        if pid is None:
            raise StartFailed(f"{name}.{replica} does not run")
        return pid

    @property
    def pids(self) -> dict[tuple[str, int], int]:
        """Every running process, by name (`envoy` among them) and replica."""
        return {
            (child.program.name, child.program.replica): child.pid
            for child in self._running().children
            if child.pid is not None
        }

    def restarts(self, name: str, replica: int = 0) -> int:
        """How often a replica was started again."""
        return self._child(name, replica).restarts

    def log_of(self, name: str, replica: int = 0) -> Path:
        """The file that holds what a replica wrote."""
        return self._log.path(name, replica)

    def kill(self) -> None:
        """End all processes at once, without grace."""
        if self._supervisor is not None:
            self._supervisor.kill()

    def _prepare_envoy(self) -> None:
        """Envoy's configuration, checked by Envoy, and no replica yet in the files it watches."""
        settings = proxy_settings(self.options, self.data)
        for process in PROCESSES:
            self._write_endpoints(process.name, [])
        try:
            proxy.write_config(self.data.envoy_config, settings)
            proxy.validate(self.data.envoy_config)
        except proxy.InvalidProxyConfig as error:
            raise MeshError(f"Envoy refuses its configuration: {error}") from None

    def _on_change(self) -> None:
        """Let files follow what runs; a full disk must not end the supervision of anything."""
        try:
            self._write_what_runs()
        except OSError as error:
            reason = f"what runs is not written down: {error.strerror}"
            self._log.event("error", reason, process=LAUNCHER)

    def _write_what_runs(self) -> None:
        """Envoy's endpoints and `run.json`."""
        children = self._running().children
        for process in PROCESSES:
            serving = [
                (HOST, child.program.port)
                for child in children
                # Who hangs stays: whether to wait for it is Envoy's health check's business.
                if child.program.name == process.name
                and child.state in (State.HEALTHY, State.UNHEALTHY)
            ]
            if self._endpoints[process.name] != serving:
                self._write_endpoints(process.name, serving)
        self.data.write_run(
            Run(
                pid=os.getpid(),
                port=self.options.port,
                version=self._version,
                started_at=self._started_at,
                processes=tuple(_as_running(child) for child in children),
            )
        )

    def _write_endpoints(self, name: str, addresses: list[tuple[str, int]]) -> None:
        proxy.write_endpoints(self.data.endpoints, name, addresses)
        self._endpoints[name] = addresses

    async def _wait_routed(self) -> None:
        """Wait until Envoy has found every replica that is listed, and found it healthy."""
        while True:
            try:
                seen = await asyncio.to_thread(admin.healthy_ports, self.options.admin_port)
            except (OSError, ValueError):
                seen = {}
            if all(
                seen.get(name, set()) >= {port for _, port in listed}
                for name, listed in self._endpoints.items()
            ):
                return
            await asyncio.sleep(POLL_S)

    async def _wait_edge(self) -> None:
        probe = HttpProbe(self.options.port, "/healthz")
        while True:
            try:
                await probe.check(timeout_s=2.0)
            except Unhealthy:
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _keep_access_log_short(self) -> None:
        """Move Envoy's access log aside when it is large, as the processes' files are."""
        log = proxy_settings(self.options, self.data).access_log
        while True:
            await asyncio.sleep(TIDY_INTERVAL_S)
            with suppress(OSError):
                if log.stat().st_size > MAX_FILE_BYTES:
                    log.replace(log.with_suffix(".log.1"))
                    await asyncio.to_thread(admin.reopen_logs, self.options.admin_port)

    def _child(self, name: str, replica: int) -> Child:
        for child in self._running().children:
            if (child.program.name, child.program.replica) == (name, replica):
                return child
        raise MeshError(f"this mesh has no {name}.{replica}")

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise MeshError("this mesh has not been started")
        return self._supervisor


@asynccontextmanager
async def running_mesh(
    data_dir: Path,
    *,
    port: int = 0,
    replicas: Mapping[str, int] | None = None,
    store_url: str = "",
    log_level: str = "info",
    pace: Pace | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> AsyncIterator[Mesh]:
    """A mesh that is ready, for as long as the context lasts; port 0 takes a free block.

    Raises StartFailed and what `Mesh.running` raises.
    """
    options = MeshOptions(
        port=port or ports.free_block(),
        data_dir=data_dir,
        replicas=replicas or {},
        store_url=store_url,
        log_level=log_level,
    )
    mesh = Mesh(options, pace=pace)
    async with mesh.running():
        await mesh.wait_ready(timeout_s)
        yield mesh


def _as_running(child: Child) -> RunningProcess:
    return RunningProcess(
        name=child.program.name,
        replica=child.program.replica,
        port=child.program.port,
        pid=child.pid,
        state=child.state.value,
        reason=child.reason,
        started_at=child.started_at,
        restarts=child.restarts,
    )
