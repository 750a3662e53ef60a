"""What metrics cost: `python -m bench.metrics`.

CPU microseconds of what each request does for them, alone; and of a whole gRPC call that finds its
result, with them and without, server and client in one process, rounds interleaved.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import grpc
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import generate_latest

from bench.report import console, machine, median, table
from mesh.programs import NODE
from services.client.mesh import MeshClient
from services.inference.metrics import ModelMetrics
from services.rest.selections import Selections
from services.serving.diagnostics import OK, OUTCOMES, Diagnostics
from services.serving.http_metrics import HttpMetrics
from services.serving.metrics import registry_of
from services.serving.rpc_metrics import RpcMetrics
from services.serving.server import grpc_server
from services.serving.tenancy import LOCAL, act_for
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.nsfw.v1 import nsfw_pb2, nsfw_pb2_grpc

COUNT: Final = 50_000
ROUNDS: Final = 9
CALLS: Final = 1_000
"""Of a round."""

METHOD: Final = "/visionmesh.nsfw.v1.NsfwService/Classify"


class Answering(nsfw_pb2_grpc.NsfwServiceServicer):
    """Has every result at hand."""

    async def Classify(
        self, request: nsfw_pb2.ClassifyRequest, context: Any
    ) -> nsfw_pb2.ClassifyResponse:
        return nsfw_pb2.ClassifyResponse(
            outcomes=[nsfw_pb2.ClassifyOutcome(digest=each.digest) for each in request.images]
        )

    async def GetModel(
        self, request: nsfw_pb2.GetModelRequest, context: Any
    ) -> nsfw_pb2.GetModelResponse:
        return nsfw_pb2.GetModelResponse()


def each_us(one: Callable[[], object]) -> float:
    """CPU microseconds of this thread, the median of the rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(COUNT):
            one()
        found.append((time.thread_time() - began) * 1e6 / COUNT)
    return median(found)


async def parts() -> list[tuple[str, float]]:
    """What each kind of request does for its metrics."""
    diagnostics = Diagnostics()
    registry = registry_of("bench", diagnostics)
    ended = RpcMetrics(registry).of(METHOD)
    http, request = HttpMetrics(registry), await _request()
    selections = Selections(registry).of("ImageNsfw")
    model = ModelMetrics("nsfw", registry)
    file = model.of("nsfw")
    clock = time.perf_counter

    def call() -> None:
        began = clock()
        ended(grpc.StatusCode.OK, clock() - began)

    def inference() -> None:
        used, began = time.thread_time(), clock()
        file.ran(1, clock() - began)
        model.used(time.thread_time() - used)

    def answer(*paths: str) -> Callable[[], None]:
        def one() -> None:
            began = clock()
            selections.asked(paths)
            selections.answered(300, 300)
            http.ended(request, 200, clock() - began)

        return one

    found = [
        ("a gRPC call", each_us(call)),
        ("an image of a call", each_us(lambda: diagnostics.count(OUTCOMES + OK))),
        ("an inference", each_us(inference)),
        ("a REST answer", each_us(answer())),
        ("a REST answer with three fields", each_us(answer("imageId", "nsfw/score", "image"))),
    ]
    began = time.thread_time()
    for _ in range(100):
        generate_latest(registry)
    return [*found, ("a look by Prometheus (7 metrics)", (time.thread_time() - began) * 1e4)]


async def _request() -> web.Request:
    """A request as the facade has it when it is answered."""
    app = web.Application()

    async def nothing(_request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/v1/images/{id}/nsfw", nothing)
    request = make_mocked_request("GET", f"/v1/images/{'0' * 64}/nsfw")
    match = await app.router.resolve(request)
    return make_mocked_request("GET", request.path, match_info=match)


async def whole() -> tuple[list[float], list[float]]:
    """CPU microseconds of a call and its answer, without metrics and with them, by round."""
    without = patch.object(RpcMetrics, "of", lambda self, path: lambda code, seconds: None)
    act_for(LOCAL)
    with without:
        bare = await _rounds(1)
    assert bare
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        with without:
            found[0].extend(await _rounds(CALLS))
        found[1].extend(await _rounds(CALLS))
    return found


async def _rounds(calls: int) -> list[float]:
    def register(server: grpc.aio.Server) -> None:
        nsfw_pb2_grpc.add_NsfwServiceServicer_to_server(Answering(), server)

    diagnostics = Diagnostics()
    registry = registry_of("bench", diagnostics)
    refs = [ImageRef(digest="a" * 64)]
    async with (
        grpc_server(register, diagnostics=diagnostics, registry=registry) as port,
        MeshClient(f"127.0.0.1:{port}") as mesh,
    ):
        await mesh.classify(refs)
        began = time.process_time()
        for _ in range(calls):
            await mesh.classify(refs)
        return [(time.process_time() - began) * 1e6 / calls]


def gateway() -> dict[str, float]:
    """The same of the gateway, by Node."""
    script = Path(__file__).with_name("gateway_metrics.ts")
    said = subprocess.run([NODE, script], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in json.loads(said).items()}


async def main() -> None:
    console.print(f"[bold]What metrics cost[/] ({machine()})")
    node = gateway()
    rows = [
        *await parts(),
        ("an operation of the graph", node["operation"]),
        ("a request to a subgraph", node["subgraph"]),
        ("a document that is new, with 7 fields", node["fresh"]),
    ]
    table(
        "CPU microseconds, medians of the rounds",
        ["", "µs"],
        [[name, f"{value:.1f}"] for name, value in rows],
    )
    bare, measured = await whole()
    table(
        "A gRPC call of a stored result, server and client",
        ["", "µs", "least to most"],
        [
            [name, f"{median(found):.0f}", f"{min(found):.0f} to {max(found):.0f}"]
            for name, found in (("without metrics", bare), ("with metrics", measured))
        ],
    )


if __name__ == "__main__":
    asyncio.run(main())
