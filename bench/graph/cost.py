"""What gateway and subgraphs cost in CPU: one image with four fields, and a hundred images.

First with subgraphs that have the models' words at hand, which is what the graph costs alone, then
with gRPC to simulated models that take no time. Answers are those of busy photos. A second and two
cores means: what two cores would do if they did nothing else.
"""

from __future__ import annotations

from typing import Final

from bench import edge
from bench.cpu import cpu_seconds, per_request_ms
from bench.graph import queries
from bench.graph.speed import ALL, CLIENTS, PAGE
from bench.graph.worlds import drive, simulated_mesh
from bench.report import console, median, table
from mesh.launcher import Mesh

ROUNDS: Final = 3
PAGES: Final = 5
"""Queries about a hundred images in each round."""

POSSIBLE: Final = "1,158 queries a second on two cores, 27 ms for 100 images"
"""What was seen to be possible with stubbed loaders, on another day and of a little less."""

PROCESSES: Final = ("gateway", "subgraphs")


async def main(requests: int) -> None:
    """Measure, in each round, `requests` queries about one image and some about a hundred."""
    rows = []
    for name, stubbed in (("at hand", True), ("over gRPC", False)):
        async with simulated_mesh(0.0, stubbed=stubbed) as simulation:
            digests = await simulation.images(max(requests, PAGE + PAGES))
            rows += _measured(simulation.mesh, name, digests)
    table(
        "CPU milliseconds a query, four fields of each image",
        ["models' words", "images", "kB", *PROCESSES, "together", "a second, 2 cores"],
        rows,
    )
    console.print(f"possible, models' words at hand: {POSSIBLE}")


def _measured(mesh: Mesh, name: str, digests: list[str]) -> list[list[str]]:
    """Nothing keeps these answers, so the same images do in each round, in other pages."""
    pids = {process: mesh.pid(process) for process in PROCESSES}
    asked = {
        1: [queries.body(queries.one(ALL), id=digest) for digest in digests],
        PAGE: [
            queries.body(queries.many(ALL), ids=digests[start : start + PAGE])
            for start in range(PAGES)
        ],
    }
    found: dict[int, list[dict[str, float]]] = {images: [] for images in asked}
    for number in range(ROUNDS + 1):
        for images, bodies in asked.items():
            used = _used(mesh, pids, bodies)
            if number:  # the first round warms everything up
                found[images].append(used)
    url = f"{mesh.edge_url}{queries.PATH}"
    return [
        _row(name, images, len(edge.post_json(url, bodies[0])), found[images])
        for images, bodies in asked.items()
    ]


def _used(mesh: Mesh, pids: dict[str, int], bodies: list[str]) -> dict[str, float]:
    """CPU milliseconds of each process a query."""
    before = cpu_seconds(pids)
    drive(mesh, CLIENTS, [queries.PATH] * len(bodies), bodies, unwanted=queries.ERRORS)
    return per_request_ms(before, cpu_seconds(pids), len(bodies))


def _row(name: str, images: int, size: int, found: list[dict[str, float]]) -> list[str]:
    costs = {process: median([each[process] for each in found]) for process in PROCESSES}
    together = sum(costs.values())
    return [
        name,
        str(images),
        f"{size / 1e3:.1f}",
        *(f"{costs[process]:.2f}" for process in PROCESSES),
        f"{together:.2f}",
        f"{2e3 / together:.0f}",
    ]
