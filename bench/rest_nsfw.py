"""REST beside the bare pipeline: stored photos that nobody has looked at, each asked for once.

Rounds are interleaved, bare and mesh in turn on the same photos, because machines are shared and
noisy. What the mesh costs is the CPU time of all its processes less the bare loop's on the same
photos. The client's is left out, and so is what the mesh uses without any request (health checks),
which is measured first and printed beside it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench import bare, load
from bench.cpu import cpu_seconds, per_request_ms
from bench.photos import photos, upload
from bench.report import console, machine, median, percentile, table
from mesh.launcher import Mesh, running_mesh
from services.media.store import image_folder

CONNECTIONS: Final = (1, 10, 50)
ROUNDS: Final = 3
BACKGROUND_S: Final = 10.0
BARE_PROCESSES: Final = {1: 1, 10: 2, 50: 2}

MAX_CPU_MS: Final = 3.0
"""Goal: CPU outside the bare pipeline, milliseconds a request."""

MAX_P50_MS: Final = 4.0
"""Goal: median over the bare call with one client, milliseconds."""


@dataclass
class Series:
    """What one number of connections gave, over all rounds."""

    requests: int = 0
    mesh_seconds: float = 0.0
    bare_seconds: float = 0.0
    mesh_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    bare_cpu_seconds: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def bare_cpu_ms(self) -> float:
        return self.bare_cpu_seconds * 1e3 / self.requests

    @property
    def over_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values()) - self.bare_cpu_ms


async def main(requests: int) -> None:
    """Measure `requests` photos for each round and number of connections."""
    console.print(f"[bold]REST beside the bare pipeline[/] ({machine()})")
    images = photos(requests * ROUNDS * len(CONNECTIONS))
    console.print(f"{len(images)} photos of {len(images[0]) // 1000} kB, 1280 x 960")
    with tempfile.TemporaryDirectory() as folder:
        async with running_mesh(Path(folder), log_level="warning") as mesh:
            # Before the uploads, whose aftermath would count as idle and flatter every request.
            background = await _background(mesh)
            digests = await upload(mesh.mesh_address, images)
            left = iter([digests[at : at + requests] for at in range(0, len(digests), requests)])
            series: dict[int, Series] = {count: Series() for count in CONNECTIONS}
            for _ in range(ROUNDS):
                for connections, found in series.items():
                    _round(mesh, next(left), connections, found, background)
    _print(series, background)


async def _background(mesh: Mesh) -> dict[str, float]:
    """CPU seconds a second that each process uses while nobody asks for anything."""
    pids = _pids(mesh)
    before = cpu_seconds(pids)
    await asyncio.sleep(BACKGROUND_S)
    after = cpu_seconds(pids)
    return {name: (after[name] - before[name]) / BACKGROUND_S for name in before}


def _pids(mesh: Mesh) -> dict[str, int]:
    return {f"{name}.{replica}": pid for (name, replica), pid in mesh.pids.items()}


def _round(
    mesh: Mesh,
    digests: list[str],
    connections: int,
    series: Series,
    background: dict[str, float],
) -> None:
    originals = [
        mesh.data.root / "objects" / image_folder(digest) / "original" for digest in digests
    ]
    alone = bare.run(originals, processes=BARE_PROCESSES[connections])
    edge = urlsplit(mesh.edge_url)
    paths = [f"/v1/images/{digest}/nsfw" for digest in digests]
    pids = _pids(mesh)
    before = cpu_seconds(pids)
    report = load.run(load.Job(edge.hostname or "", edge.port or 0, connections, paths))
    used = per_request_ms(before, cpu_seconds(pids), len(digests))
    if report.failures:
        raise SystemExit(f"{len(report.failures)} requests failed: {report.failures[0]}")
    series.requests += len(digests)
    series.mesh_seconds += report.seconds
    series.bare_seconds += alone.seconds
    series.mesh_ms += report.latencies_ms
    series.bare_ms += alone.latencies_ms
    series.bare_cpu_seconds += alone.cpu_seconds
    for name, cost in used.items():
        idle_ms = background[name] * report.seconds * 1e3 / len(digests)
        series.cpu_ms[name] += (cost - idle_ms) / ROUNDS


def _print(series: dict[int, Series], background: dict[str, float]) -> None:
    table(
        "latency and throughput",
        ["clients", "bare p50", "p50 ms", "p99 ms", "bare/s", "mesh/s", "of bare"],
        [
            [
                str(connections),
                f"{median(found.bare_ms):.1f}",
                f"{median(found.mesh_ms):.1f}",
                f"{percentile(found.mesh_ms, 99):.1f}",
                f"{found.requests / found.bare_seconds:.1f}",
                f"{found.requests / found.mesh_seconds:.1f}",
                f"{found.bare_seconds / found.mesh_seconds:.0%}",
            ]
            for connections, found in series.items()
        ],
    )
    names = list(next(iter(series.values())).cpu_ms)
    table(
        "CPU milliseconds a request",
        ["clients", "bare", *names, "over bare"],
        [
            [
                str(connections),
                f"{found.bare_cpu_ms:.2f}",
                *(f"{found.cpu_ms[name]:.2f}" for name in names),
                f"{found.over_cpu_ms:.2f}",
            ]
            for connections, found in series.items()
        ],
    )
    idle = ", ".join(f"{name} {used:.1%}" for name, used in background.items())
    console.print(f"of one core without any request: {idle}")
    one = series[1]
    over_ms = median(one.mesh_ms) - median(one.bare_ms)
    console.print(f"p50 over the bare call, one client: {over_ms:.2f} ms (goal {MAX_P50_MS:g})")
    worst = max(found.over_cpu_ms for found in series.values())
    console.print(f"CPU outside the bare pipeline, at most: {worst:.2f} ms (goal {MAX_CPU_MS:g})")
