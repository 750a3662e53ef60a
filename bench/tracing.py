"""What tracing costs: `python -m bench.tracing`.

CPU milliseconds of an uncached request to one model, by process, with tracing off, with a share of
the requests recorded, and with all of them. Two meshes run side by side, one that exports to a
collector and one that does not know of any; each request says itself whether it is recorded. Rounds
are interleaved, each on photos that nobody has looked at; what the processes use without any
request is taken off.

The thread that infers is left out: it does nothing for a trace but to look at the clock, and its
time varies by more than all of tracing takes.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit

import grpc
import typer
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bench import load
from bench.cpu import thread_seconds
from bench.photos import photos, upload
from bench.report import console, machine, median, table
from mesh.launcher import Mesh, running_mesh

BACKGROUND_S: Final = 20.0
SHARE: Final = 0.05
EXPORT_S: Final = 6.0
"""After which all that was recorded has been exported."""

MODEL: Final = "nsfw"

MAX_MS: Final = {"5 %": 0.15, "100 %": 1.5}
"""Goals: CPU over that without tracing, all processes together."""


@dataclass
class Kind:
    """One way to be traced."""

    mesh: Mesh
    share: float
    photos: Iterator[str]
    rounds: list[dict[str, float]] = field(default_factory=list)

    def of(self, process: str) -> float:
        """Median milliseconds a request."""
        return median([found[process] for found in self.rounds])

    @property
    def totals(self) -> list[float]:
        return [sum(found.values()) for found in self.rounds]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans, and counts them."""

    spans = 0

    def Export(self, request: Any, context: Any) -> Any:
        self.spans += sum(
            len(scope.spans) for one in request.resource_spans for scope in one.scope_spans
        )
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def collecting() -> Iterator[tuple[Collector, int]]:
    """A collector, and its port at 127.0.0.1."""
    server, collector = grpc.server(ThreadPoolExecutor(2)), Collector()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server  # has no types
    add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, port
    finally:
        server.stop(None)


async def measure(requests: int, rounds: int) -> None:
    console.print(f"[bold]What tracing costs: {MODEL}, uncached[/] ({machine()})")
    with tempfile.TemporaryDirectory() as folder, collecting() as (collector, port):
        async with AsyncExitStack() as stack:
            off = await stack.enter_async_context(
                running_mesh(Path(folder) / "off", log_level="warning")
            )
            with patch.dict(
                os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
            ):
                on = await stack.enter_async_context(
                    running_mesh(Path(folder) / "on", log_level="warning")
                )
            background = await _background(off, on)
            count = requests * rounds
            images = photos(2 * count, width=640, height=480)
            of_off = iter(await upload(off.mesh_address, images[:count]))
            of_on = iter(await upload(on.mesh_address, images))
            kinds = {
                "off": Kind(off, 0.0, of_off),
                "5 %": Kind(on, SHARE, islice(of_on, count)),
                "100 %": Kind(on, 1.0, of_on),
            }
            await asyncio.sleep(EXPORT_S)  # what was recorded of the uploads has left by then
            uploads = collector.spans
            for number in range(rounds):
                names = list(kinds)
                random.Random(number).shuffle(names)
                for name in names:
                    kind = kinds[name]
                    kind.rounds.append(_round(kind, requests, background[kind.mesh.edge_url]))
            recorded = collector.spans - uploads
    _print(kinds, recorded / (count * (1 + SHARE)))


async def _background(*meshes: Mesh) -> dict[str, dict[str, float]]:
    """CPU seconds a second that each process uses while nobody asks for anything, by mesh."""
    before = {mesh.edge_url: _threads(mesh) for mesh in meshes}
    await asyncio.sleep(BACKGROUND_S)
    return {
        mesh.edge_url: {
            name: sum(used) / BACKGROUND_S
            for name, used in _used(before[mesh.edge_url], _threads(mesh)).items()
        }
        for mesh in meshes
    }


def _threads(mesh: Mesh) -> dict[str, dict[int, float]]:
    return {name: thread_seconds(pid) for (name, _), pid in mesh.pids.items()}


def _used(
    before: Mapping[str, Mapping[int, float]], after: Mapping[str, Mapping[int, float]]
) -> dict[str, list[float]]:
    """Seconds that each thread has used, by process."""
    return {
        name: [seconds - before[name].get(thread, 0.0) for thread, seconds in threads.items()]
        for name, threads in after.items()
    }


def _round(kind: Kind, requests: int, background: dict[str, float]) -> dict[str, float]:
    edge = urlsplit(kind.mesh.edge_url)
    digests = list(islice(kind.photos, requests))
    paths = [f"/v1/images/{digest}/{MODEL}" for digest in digests]
    recorded = round(requests * kind.share)
    flags = ["01"] * recorded + ["00"] * (requests - recorded)
    random.shuffle(flags)
    headers = [f"traceparent: {_parent(flag)}" for flag in flags]
    before = _threads(kind.mesh)
    report = load.run(load.Job(edge.hostname or "", edge.port or 0, 1, paths, headers))
    time.sleep(EXPORT_S)  # for what was recorded last
    used = _used(before, _threads(kind.mesh))
    used[MODEL].remove(max(used[MODEL]))
    if report.failures:
        raise SystemExit(f"{len(report.failures)} requests failed: {report.failures[0]}")
    idle_ms = (report.seconds + EXPORT_S) * 1e3 / requests
    return {
        name: sum(seconds) * 1e3 / requests - background[name] * idle_ms
        for name, seconds in used.items()
    }


def _parent(flags: str) -> str:
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-{flags}"


def _print(kinds: dict[str, Kind], spans: float) -> None:
    names = [name for name in kinds["off"].rounds[0] if kinds["100 %"].of(name) >= 0.05]
    table(
        "CPU milliseconds a request, medians of the rounds",
        ["", *names, "all", "least", "most", "over off"],
        [
            [
                name,
                *(f"{kind.of(process):.2f}" for process in names),
                f"{median(kind.totals):.2f}",
                f"{min(kind.totals):.2f}",
                f"{max(kind.totals):.2f}",
                f"{median(kind.totals) - median(kinds['off'].totals):+.2f}",
            ]
            for name, kind in kinds.items()
        ],
    )
    console.print(f"{spans:.1f} spans a recorded request")
    for name, most in MAX_MS.items():
        over = median(kinds[name].totals) - median(kinds["off"].totals)
        console.print(f"{name}: {over:+.2f} ms, goal at most {most:g} ms")


def main(
    requests: Annotated[int, typer.Option(help="Photos of each round.")] = 200,
    rounds: Annotated[int, typer.Option(help="Rounds of each kind.")] = 7,
) -> None:
    """Measure what tracing costs an uncached request to one model."""
    asyncio.run(measure(requests, rounds))


if __name__ == "__main__":
    typer.run(main)
