"""Processes that stop and die behind the mesh listener: calls end soon, and work soon again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from mesh.proxy import write_endpoints
from tests.envoy import removals
from tests.envoy.world import HOST, Mesh, mesh_world
from tests.support.envoy import patience_s, until

QUICK: dict[str, Any] = {
    "replicas": 0,
    "health_interval_s": 0.2,
    "health_timeout_s": 0.4,
    "keepalive_interval_s": 1.0,
    "keepalive_timeout_s": 0.5,
}


@dataclass
class Process:
    """A replica in a process of its own."""

    port: int
    popen: subprocess.Popen[str]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Neither answers nor hangs up while the block runs."""
        self.popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.popen.send_signal(signal.SIGCONT)


@contextmanager
def started() -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.envoy.replica"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stdout
        try:
            yield Process(int(popen.stdout.readline()), popen)
        finally:
            popen.kill()


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    """One replica for every test that leaves it alive."""
    with started() as process:
        yield process


async def publish(mesh: Mesh, *ports: int) -> None:
    """Make these the replicas of nsfw, and wait until they are healthy."""
    addresses = [(HOST, port) for port in ports]
    write_endpoints(mesh.envoy.settings.endpoints_dir, "nsfw", addresses)
    await healthy(mesh, len(ports))


async def healthy(mesh: Mesh, count: int) -> None:
    for cluster in ("nsfw", "nsfw-by-digest"):
        await mesh.envoy.until_healthy(cluster, count)


async def prompt_code(mesh: Mesh, **arguments: str) -> StatusCode:
    """How a call ended, long before its own deadline; AssertionError when it has not ended."""
    try:
        async with asyncio.timeout(patience_s.get()):
            return await mesh.code(**arguments)
    except TimeoutError:
        raise AssertionError("a call that waits for its deadline") from None


async def stopped_is_unavailable(mesh: Mesh, process: Process) -> None:
    assert await mesh.call() == "process"
    with process.stopped():
        await healthy(mesh, 0)
        assert await prompt_code(mesh) is StatusCode.UNAVAILABLE
        assert await prompt_code(mesh, digest="ab" * 32) is StatusCode.UNAVAILABLE
    await healthy(mesh, 1)
    assert await mesh.call() == "process"


async def calls_in_flight_end(mesh: Mesh, process: Process) -> None:
    await mesh.call()
    with process.stopped():
        assert await prompt_code(mesh) is StatusCode.UNAVAILABLE


@dataclass(frozen=True)
class Resilience:
    """A feature as in the other files, whose check has a process to stop."""

    name: str
    check: Callable[[Mesh, Process], Awaitable[None]]
    remove: removals.Removal

    def __str__(self) -> str:
        return self.name


FEATURES = [
    Resilience("health check", stopped_is_unavailable, removals.cluster_setting("health_checks")),
    Resilience(
        "no panic",
        stopped_is_unavailable,
        removals.cluster_setting("common_lb_config.healthy_panic_threshold"),
    ),
    Resilience("calls in flight", calls_in_flight_end, removals.upstream_pings),
]


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_feature(feature: Resilience, process: Process, tmp_path: Path):
    """Calls to the only replica, stopped, end as unavailable, and work once it goes on."""
    async with mesh_world(tmp_path, **QUICK) as mesh:
        await publish(mesh, process.port)
        await feature.check(mesh, process)


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_feature(feature: Resilience, process: Process, tmp_path: Path):
    """Calls wait for their deadlines when exactly this feature is taken out."""
    async with mesh_world(tmp_path, without=feature.remove, **QUICK) as mesh:
        await publish(mesh, process.port)
        patience_s.set(3.0)
        with pytest.raises(AssertionError):
            await feature.check(mesh, process)


async def test_a_killed_replica_is_unavailable_at_once(tmp_path: Path):
    """Calls to the only replica, killed, fail without waiting for a health check."""
    settings = {**QUICK, "health_interval_s": 60.0}
    with started() as process:
        async with mesh_world(tmp_path, **settings) as mesh:
            await publish(mesh, process.port)
            assert await mesh.call() == "process"
            process.popen.kill()
            process.popen.wait()
            assert await prompt_code(mesh) is StatusCode.UNAVAILABLE
            assert await mesh.envoy.stat("cluster.nsfw.membership_healthy") == 1


async def test_a_stopped_replica_costs_no_call(process: Process, tmp_path: Path):
    """With a second replica, calls that wait for a stopped one are answered by the other."""
    async with mesh_world(tmp_path, **{**QUICK, "replicas": 1}) as mesh:
        await publish(mesh, mesh.replicas[0].port, process.port)

        async def reached() -> bool:
            return await mesh.call() == "process"

        await until(reached, "a call to the process")
        with process.stopped():
            codes = await asyncio.gather(*(mesh.code() for _ in range(20)))
        assert set(codes) == {StatusCode.OK}
