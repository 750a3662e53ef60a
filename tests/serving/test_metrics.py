"""What every Python process measures, as Prometheus is answered."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import grpc
import pytest

from services.serving.diagnostics import Diagnostics
from services.serving.metrics import COUNTED, exposed, registry_of
from services.serving.server import grpc_server
from tests.support.mesh import FakeNsfw, adding, registering
from tests.support.prometheus import labelled, promtool, value
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2_grpc import NsfwServiceStub

CLASSIFY = "visionmesh.nsfw.v1.NsfwService/Classify"
CALLS = "visionmesh_rpc_server_duration_seconds_count"


async def scraped(port: int | None) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def test_prometheus_is_answered_and_promtool_finds_no_fault():
    """At a port of its own for as long as it is served; names and types are as they should be."""
    diagnostics = Diagnostics()
    diagnostics.count("results.memory.hits", 2)
    async with exposed(registry_of("toy", diagnostics), "127.0.0.1", 0) as port:
        text = await scraped(port)
        assert value(text, "visionmesh_result_cache_hits_total", tier="memory") == 2
        assert value(text, "process_cpu_seconds_total") > 0
        assert await promtool("check", "metrics", given=text) == (0, "")
    with pytest.raises(aiohttp.ClientConnectionError):
        await scraped(port)


async def test_without_a_port_nobody_is_answered():
    """A process that is told no port opens none."""
    async with exposed(registry_of("toy", Diagnostics()), "127.0.0.1", None) as port:
        assert port is None


async def test_a_port_that_is_taken_is_an_error():
    """A second process at the same port does not start silently without metrics."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with exposed(registry_of("toy", Diagnostics()), "127.0.0.1", taken.getsockname()[1]):
            pass


def test_counters_are_those_of_diagnostics():
    """What `visionmesh status` counts is what Prometheus is told, counted once."""
    diagnostics = Diagnostics()
    registry = registry_of("toy", diagnostics)
    for number, (counter, counted) in enumerate(COUNTED.items(), start=1):
        diagnostics.count(counter, number)
        assert value(registry, f"{counted.name}_total", **counted.labels) == number
    diagnostics.count("outcomes.IMAGE_NOT_FOUND")
    assert value(registry, "visionmesh_outcomes_total", code="IMAGE_NOT_FOUND") == 1


def test_a_condition_is_1_while_it_lasts():
    """Also one that is well is there, so that an alert's absence says something."""
    troubles = ["Redis does not answer"]
    diagnostics = Diagnostics()
    diagnostics.watch("results.shared", lambda: troubles[0] if troubles else None)
    registry = registry_of("toy", diagnostics)
    assert value(registry, "visionmesh_condition", component="results.shared") == 1
    troubles.clear()
    assert "visionmesh_condition" in str(list(registry.collect()))
    assert value(registry, "visionmesh_condition", component="results.shared") == 0


async def test_calls_by_method_and_code():
    """Each call that is answered counts under how it ended; methods that are not served, and
    questions for health, are not there."""
    diagnostics = Diagnostics()
    registry = registry_of("nsfw", diagnostics)
    async with (
        grpc_server(registering(adding(FakeNsfw())), registry=registry) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        nsfw = NsfwServiceStub(channel)
        for _ in range(3):
            await nsfw.Classify(nsfw_pb2.ClassifyRequest(images=[ImageRef(digest="a" * 64)]))
        with pytest.raises(grpc.aio.AioRpcError):
            await nsfw.Classify(nsfw_pb2.ClassifyRequest(images=[ImageRef(digest="no digest")]))
        for number in range(5):
            path = f"/visionmesh.nsfw.v1.NsfwService/Strange{number}"
            strange: Any = channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError):
                await strange(b"")
        async with exposed(registry, "127.0.0.1", 0) as metrics_port:
            text = await scraped(metrics_port)
    assert value(text, CALLS, method=CLASSIFY, code="OK") == 3
    assert value(text, CALLS, method=CLASSIFY, code="INVALID_ARGUMENT") == 1
    assert labelled(text, CALLS, "method") == {CLASSIFY}
