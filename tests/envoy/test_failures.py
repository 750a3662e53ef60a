"""Processes that stop and die behind the mesh listener: calls end soon, and work soon again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from mesh.proxy import write_endpoints
from tests.envoy.test_mesh import DIGESTS, without_cluster_part
from tests.envoy.world import HOST, Feature, Mesh, mesh_world
from tests.support.envoy import Config, patience_s, until

QUICK: dict[str, Any] = {
    "replicas": 0,
    "health_interval_s": 0.2,
    "health_timeout_s": 0.4,
    "keepalive_interval_s": 1.0,
    "keepalive_timeout_s": 0.5,
}


@asynccontextmanager
async def only_replica(mesh: Mesh) -> AsyncIterator[asyncio.subprocess.Process]:
    """One replica of nsfw, in a process of its own, healthy."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.envoy.replica", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        port = int(await process.stdout.readline())
        write_endpoints(mesh.envoy.settings.endpoints_dir, "nsfw", [(HOST, port)])
        await healthy(mesh, 1)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


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


async def stopped_is_unavailable(mesh: Mesh) -> None:
    async with only_replica(mesh) as process:
        assert await mesh.call() == "process"
        process.send_signal(signal.SIGSTOP)
        await healthy(mesh, 0)
        assert await prompt_code(mesh) is StatusCode.UNAVAILABLE
        assert await prompt_code(mesh, digest=DIGESTS[0]) is StatusCode.UNAVAILABLE
        process.send_signal(signal.SIGCONT)
        await healthy(mesh, 1)
        assert await mesh.call() == "process"


async def calls_in_flight_end(mesh: Mesh) -> None:
    async with only_replica(mesh) as process:
        await mesh.call()
        process.send_signal(signal.SIGSTOP)
        assert await prompt_code(mesh) is StatusCode.UNAVAILABLE


def without_panic_threshold(config: Config) -> None:
    for cluster in config["static_resources"]["clusters"]:
        del cluster["common_lb_config"]["healthy_panic_threshold"]


def without_upstream_pings(config: Config) -> None:
    for cluster in config["static_resources"]["clusters"]:
        (options,) = cluster["typed_extension_protocol_options"].values()
        http2 = options["explicit_http_config"].get("http2_protocol_options", {})
        http2.pop("connection_keepalive", None)


FEATURES = [
    Feature("health check", stopped_is_unavailable, without_cluster_part("health_checks"), QUICK),
    Feature("no panic", stopped_is_unavailable, without_panic_threshold, QUICK),
    Feature("calls in flight", calls_in_flight_end, without_upstream_pings, QUICK),
]


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_feature(feature: Feature, tmp_path: Path):
    """Calls to the only replica, stopped, end as unavailable, and work once it goes on."""
    async with mesh_world(tmp_path, **feature.settings) as mesh:
        await feature.check(mesh)


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_feature(feature: Feature, tmp_path: Path):
    """Calls wait for their deadlines when exactly this feature is taken out."""
    async with mesh_world(tmp_path, without=feature.remove, **feature.settings) as mesh:
        patience_s.set(3.0)
        with pytest.raises(AssertionError):
            await feature.check(mesh)


async def test_a_killed_replica_is_unavailable_at_once(tmp_path: Path):
    """Calls to the only replica, killed, fail without waiting for a health check."""
    settings = {**QUICK, "health_interval_s": 60.0}
    async with mesh_world(tmp_path, **settings) as mesh, only_replica(mesh) as process:
        assert await mesh.call() == "process"
        process.kill()
        await process.wait()
        assert await prompt_code(mesh) is StatusCode.UNAVAILABLE
        assert await mesh.envoy.stat("cluster.nsfw.membership_healthy") == 1


async def test_a_stopped_replica_costs_no_call(tmp_path: Path):
    """With a second replica, calls that wait for a stopped one are answered by the other."""
    settings = {**QUICK, "replicas": 1}
    async with mesh_world(tmp_path, **settings) as mesh, only_replica(mesh) as process:
        port = await _port(mesh)
        both = [(HOST, mesh.replicas[0].port), (HOST, port)]
        write_endpoints(mesh.envoy.settings.endpoints_dir, "nsfw", both)
        await healthy(mesh, 2)

        async def reached() -> bool:
            return await mesh.call() == "process"

        await until(reached, "a call to the process")
        process.send_signal(signal.SIGSTOP)
        codes = await asyncio.gather(*(mesh.code() for _ in range(20)))
        assert set(codes) == {StatusCode.OK}


async def _port(mesh: Mesh) -> int:
    hosts = (await mesh.envoy.admin("/clusters?format=json"))["cluster_statuses"]
    cluster = next(entry for entry in hosts if entry["name"] == "nsfw")
    port: int = cluster["host_statuses"][0]["address"]["socket_address"]["port_value"]
    return port
