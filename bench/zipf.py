"""Many requests over few images, as popular ones are asked for: `python -m bench.zipf`.

Stored photos are asked for by Zipf's law, one part with the release in the URL (answered by Envoy's
cache while it is fresh), the other without (revalidated by the facade). What must come out: one
inference for each image that was asked for at all. What is printed: which layer answered.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import grpc
import numpy as np
import typer

from bench import edge, load
from bench.photos import each_photo, upload
from bench.report import console, machine, table
from mesh.launcher import Mesh, running_mesh
from services.catalog import BY_NAME
from tests.support.redis import redis_server
from visionmesh.serving.v1 import diagnostics_pb2, diagnostics_pb2_grpc

EXPONENT: Final = 1.0
CONNECTIONS: Final = 16
BATCH: Final = 500
"""Photos that are made and uploaded at a time, so that they need not all be in memory."""


async def main(images: int, requests: int, pinned: float, nsfw: int) -> None:
    """Ask `requests` times for `images` photos, a share of `pinned` with the release."""
    console.print(
        f"[bold]Zipf, exponent {EXPONENT:g}[/]: {requests} requests over {images} photos "
        f"({machine()})"
    )
    with tempfile.TemporaryDirectory() as folder:
        async with (
            redis_server() as redis,
            running_mesh(
                Path(folder),
                log_level="warning",
                replicas={"nsfw": nsfw},
                config={"redis_url": redis.url},
            ) as mesh,
        ):
            digests = await _stored(mesh, images)
            paths, asked = _paths(edge.current_release(mesh.edge_url), digests, requests, pinned)
            before = await _state(mesh, nsfw)
            started = time.perf_counter()
            report = load.run(load.Job("127.0.0.1", mesh.options.port, CONNECTIONS, paths))
            seconds = time.perf_counter() - started
            after = await _state(mesh, nsfw)
    if report.failures:
        raise SystemExit(f"{len(report.failures)} requests failed: {report.failures[0]}")
    _print(after - before, requests, asked, seconds)


async def _stored(mesh: Mesh, images: int) -> list[str]:
    started = time.perf_counter()
    digests: list[str] = []
    made = each_photo(images, width=640, height=480)
    while batch := list(islice(made, BATCH)):
        digests += await upload(mesh.mesh_address, batch)
    console.print(f"stored in {time.perf_counter() - started:.0f} s")
    return digests


def _paths(release: str, digests: list[str], requests: int, pinned: float) -> tuple[list[str], int]:
    """The paths to ask for, in order, and how many different images they are about."""
    random = np.random.default_rng(7)
    weights = 1 / np.arange(1, len(digests) + 1) ** EXPONENT
    chosen = random.choice(len(digests), requests, p=weights / weights.sum())
    with_release = random.random(requests) < pinned
    paths = [
        f"/v1/images/{digests[rank]}/nsfw" + (f"?release={release}" if named else "")
        for rank, named in zip(chosen.tolist(), with_release.tolist(), strict=True)
    ]
    return paths, len(set(chosen.tolist()))


async def _state(mesh: Mesh, replicas: int) -> Counter[str]:
    """What was counted so far: by the nsfw replicas together, and by Envoy."""
    counted: Counter[str] = Counter()
    for replica in range(replicas):
        port = BY_NAME["nsfw"].port(mesh.options.port, replica)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = diagnostics_pb2_grpc.DiagnosticsServiceStub(channel)
            answer = await stub.GetDiagnostics(diagnostics_pb2.GetDiagnosticsRequest())
            counted.update(answer.counters)
    stats = f"{mesh.admin_url}/stats?format=json&filter=^cluster.rest.upstream_rq_(304|total)$"
    found = await asyncio.to_thread(edge.get_json, stats)
    counted.update({entry["name"].split(".")[-1]: entry["value"] for entry in found["stats"]})
    return counted


def _print(counted: Counter[str], requests: int, asked: int, seconds: float) -> None:
    origin, unmodified = counted["upstream_rq_total"], counted["upstream_rq_304"]
    rows = [
        ("Envoy's cache, nothing asked", requests - origin),
        ("Envoy's cache, revalidated by the facade", unmodified),
        ("the model's memory", counted["results.memory.hits"]),
        ("Redis", counted["results.shared.hits"]),
        ("the object store", counted["results.durable.hits"]),
        ("another request's inference", counted["flights.joined"]),
        ("inference", counted["inferences"]),
    ]
    table(
        "which layer answered",
        ["layer", "requests", "of all"],
        [[name, str(count), f"{count / requests:.2%}"] for name, count in rows],
    )
    console.print(f"{requests / seconds:.0f} requests a second")
    console.print(f"{counted['inferences']} inferences for {asked} different images")


def command(
    images: Annotated[int, typer.Option(help="Stored photos.")] = 10_000,
    requests: Annotated[int, typer.Option(help="Requests, all together.")] = 100_000,
    pinned: Annotated[float, typer.Option(help="Share that names the release.")] = 0.5,
    nsfw: Annotated[int, typer.Option(help="Replicas of the model.")] = 2,
) -> None:
    """Ask for stored photos by Zipf's law, and say which layer answered."""
    asyncio.run(main(images, requests, pinned, nsfw))


if __name__ == "__main__":
    typer.run(command)
