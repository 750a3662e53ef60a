"""One whole mesh on this machine: Envoy and every process of the catalog, started and stopped.

`visionmesh up` is this with a terminal around it; tests and benchmarks use `running_mesh`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, TextIO

from mesh import ports
from mesh.admission import Admission
from mesh.cache import cache_dir
from mesh.child import Child, Pace, Program, State
from mesh.config import FILE as CONFIG_FILE
from mesh.config import find, load
from mesh.control import listening
from mesh.errors import InvalidOption, MeshError, StartFailed
from mesh.front import Front
from mesh.logs import LAUNCHER, MeshLog, Style
from mesh.ports import HOST, room
from mesh.programs import (
    MeshOptions,
    check_packages,
    envoy_program,
    jaeger_program,
    moved,
    proxy_settings,
    service_programs,
    trusted,
)
from mesh.restarts import Restarted, Restarts
from mesh.scraping import targets
from mesh.state import DataDir, Run, RunningProcess
from mesh.supervisor import Supervisor
from mesh.version import version
from services.catalog import BY_NAME, PROCESSES

GRACE_S: Final = 3.0
"""How long each tier of processes may take to finish what it has begun."""

START_TIMEOUT_S: Final = 60.0


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
        self._config_file = find(options.config_file, self.data.root)
        self.config = load(self._config_file)
        self.redis_url = self.config.redis_url or os.environ.get("VISIONMESH_REDIS_URL", "")
        self.token = ""
        """What Envoy and the processes show each other; known once it runs."""
        self.edge_url = ports.url(ports.reachable(options.host), options.port)
        self.mesh_address = options.mesh_address
        self.admin_url = f"http://{HOST}:{options.admin_port}"
        self._programs = service_programs(options, self.data, self.config, self.replicas)
        self._programs.append(envoy_program(options, self.data))
        if jaeger := options.traces.jaeger:
            self._programs.append(jaeger_program(jaeger, options.traces.ui_port))
        titles = [program.title for program in self._programs]
        style = style or Style(as_json=options.log_json)
        self._log = MeshLog(self.data.logs, stream, style, titles)
        self._pace = pace
        self._version = version()
        self._started_at = 0.0
        self._front: Front | None = None
        self._supervisor: Supervisor | None = None
        self._restarts: Restarts | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything, and stop everything on leaving.

        Nothing is waited for: see `wait_ready`. Raises PortInUse, DataDirInUse and MeshError before
        any process is started.
        """
        options = self.options
        with ExitStack() as stack:
            stack.enter_context(self.data.held())
            ports.check_free(options.port, self.replicas, options.host)
            check_packages()
            self._started_at = time.time()
            self._announce()
            self.token = self._let_in()
            cache = stack.enter_context(cache_dir(options.cache_dir, self.data.root))
            settings = proxy_settings(options, self.data, self.config, cache)
            self._front = front = Front(self.data, settings)
            front.prepare()
            self._say_what_is_unwise()
            if options.traces.said:
                self._log.event("info", options.traces.said, process=LAUNCHER)
            self._supervisor = supervisor = Supervisor(
                [trusted(program, self.token) for program in self._programs],
                self._log,
                pace=self._pace,
                on_change=self._on_change,
            )
            self._restarts = Restarts(supervisor, front, self._successor)
            supervisor.start()
            tidying = asyncio.create_task(front.keep_access_log_short())
            try:
                async with listening(self.data.control, self.restart):
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
                await self._envoy().wait_routed()
                await self._envoy().wait_edge()
                await self._envoy().wait_introduced()
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
            await self._envoy().wait_routed()
        return self.pid(name, replica)

    async def restart(self, names: Sequence[str] = ()) -> AsyncGenerator[Restarted, None]:
        """Exchange replicas in turn, each new one before the old one stops; each as it is done.

        `nsfw` are all replicas of a process, `nsfw.1` is one, and no names are all of the mesh but
        for Envoy. Raises InvalidOption, MeshError when another restart is under way, StartFailed
        when a new replica cannot serve: then the old one goes on.
        """
        if self._restarts is None:
            raise MeshError("this mesh has not been started")
        async with aclosing(self._restarts.restart(names)) as exchanged:
            async for done in exchanged:
                said = f"{done.title} restarted: {done.old_pid} -> {done.new_pid}"
                self._log.event("info", said, process=LAUNCHER)
                yield done

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

    def _announce(self) -> None:
        """Write down what is about to run, before anybody is let in. Raises MeshError.

        `keys` finds there which configuration Envoy is to be told of.
        """
        try:
            self._write_run(tuple(map(_as_planned, self._programs)))
        except OSError as error:
            raise MeshError(f"{self.data.run_file}: {error.strerror}") from None

    def _let_in(self) -> str:
        """Tell Envoy who may call; the mesh's token. Raises InvalidOption, MeshError."""
        admission = Admission(self.data, self.config)
        host = self.options.host
        if not ports.is_loopback(host) and not admission.guarded:
            raise InvalidOption(
                f"--host {host}: without keys everybody who reaches this address could use the "
                f"mesh: run `visionmesh keys create --tenant NAME --data {self.data.root}` first, "
                f"or have JWTs checked (`jwt` in {CONFIG_FILE})"
            )
        return admission.publish()

    def _say_what_is_unwise(self) -> None:
        several = [p.name for p in PROCESSES if p.model and self.replicas[p.name] > 1]
        if several and not self.redis_url:
            self._log.event(
                "warning",
                f"{', '.join(several)} has several replicas and there is no redis_url: they share "
                "results through the object store only, and may compute one twice",
                process=LAUNCHER,
            )

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
        self._envoy().follow(children)
        self._write_run(tuple(map(_as_running, children)))

    def _write_run(self, processes: tuple[RunningProcess, ...]) -> None:
        """`run.json`, and where Prometheus finds the same. Raises OSError."""
        self.data.write_targets(targets(self.options.port, processes))
        self.data.write_run(
            Run(
                pid=os.getpid(),
                port=self.options.port,
                version=self._version,
                started_at=self._started_at,
                processes=processes,
                config=str(self._config_file) if self._config_file else None,
                url=self.edge_url,
            )
        )

    def _successor(self, program: Program) -> Program:
        """The same, at the port of its process that nobody has."""
        name = program.name
        taken = {c.program.port for c in self._running().children if c.program.name == name}
        ports = room(BY_NAME[name], self.options.port, self.replicas[name])
        return moved(program, next(port for port in ports if port not in taken))

    def _child(self, name: str, replica: int) -> Child:
        for child in self._running().children:
            if (child.program.name, child.program.replica) == (name, replica):
                return child
        raise MeshError(f"this mesh has no {name}.{replica}")

    def _envoy(self) -> Front:
        if self._front is None:
            raise MeshError("this mesh has not been started")
        return self._front

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
    log_json: bool = False,
    stream: TextIO | None = None,
    pace: Pace | None = None,
    timeout_s: float = START_TIMEOUT_S,
    config: Mapping[str, object] | None = None,
    replica_env: Mapping[tuple[str, int], Mapping[str, str]] | None = None,
    modules: Mapping[str, str] | None = None,
) -> AsyncIterator[Mesh]:
    """A mesh that is ready, for as long as the context lasts; port 0 takes a free block.

    `config` is what its configuration file says; without one the data directory's holds. Keys are
    those that the data directory has. `stream` takes the log of all processes. `modules` stand in
    for processes, for benchmarks. Raises StartFailed and what `Mesh.running` raises.
    """
    if config is not None:
        _configure(data_dir, config)
    options = MeshOptions(
        port=port or ports.free_block(),
        data_dir=data_dir,
        replicas=replicas or {},
        store_url=store_url,
        log_level=log_level,
        log_json=log_json,
        replica_env=replica_env or {},
        modules=modules or {},
    )
    mesh = Mesh(options, stream=stream, pace=pace)
    async with mesh.running():
        await mesh.wait_ready(timeout_s)
        yield mesh


def _configure(data_dir: Path, config: Mapping[str, object]) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / CONFIG_FILE).write_text(json.dumps(config))  # which is YAML


def _as_planned(program: Program) -> RunningProcess:
    """A process that is not started yet."""
    return RunningProcess(
        name=program.name,
        replica=program.replica,
        port=program.port,
        pid=None,
        state=State.STARTING.value,
        reason="",
        started_at=None,
        restarts=0,
    )


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
