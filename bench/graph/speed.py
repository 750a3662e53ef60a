"""How long an answer takes: one query beside the REST calls that say the same.

Models are simulated, so that what differs is the mesh's own. Clients each wait for an answer before
they ask again: ten of them and, to tell waiting for a core from waiting for models, one. No image
is asked about twice, and nothing keeps an answer: whatever is compared calls its models the same
number of times. Rounds are interleaved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final
from urllib.parse import quote

from bench import load
from bench.cpu import cpu_seconds
from bench.graph import queries
from bench.graph.worlds import Simulation, drive, simulated_mesh
from bench.report import console, median, percentile, table
from mesh.launcher import Mesh
from services.catalog import MODELS

ROUNDS: Final = 5
CLIENTS: Final = 10
"""With whom the goals are compared."""

PAGE: Final = 100
"""Images of one query."""

COMPOSITE_MS: Final = 24.0
SINGLE_MS: Final = 18.0

ALL: Final = tuple(process.name for process in MODELS)
COMPOSITE_GOALS: Final = {ALL[:3]: -0.62, ALL: -0.70}
SINGLE_GOAL: Final = 0.10
PAGE_GOAL: Final = -0.60


@dataclass
class Way:
    """One way to ask, and what it gave over all rounds."""

    name: str
    ask: Callable[[list[str], int], load.Report]
    latencies_ms: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        return median(self.latencies_ms)


async def main(requests: int) -> None:
    """Measure `requests` answers of each kind and round, a third of them with one client."""
    async with simulated_mesh(COMPOSITE_MS) as simulation:
        for clients, count in ((1, requests // 3), (CLIENTS, requests)):
            for models, goal in COMPOSITE_GOALS.items():
                await _composite(simulation, models, goal, count, clients)
        await _page(simulation)
    async with simulated_mesh(SINGLE_MS) as simulation:
        for clients, count in ((1, requests // 3), (CLIENTS, requests)):
            await _single(simulation, count, clients)


async def _composite(
    simulation: Simulation, models: tuple[str, ...], goal: float, requests: int, clients: int
) -> None:
    mesh = simulation.mesh
    row = Way("REST, one call after the other", partial(_row, mesh, models))
    analysis = Way("REST, analysis", partial(_analysis, mesh, models))
    graph = Way("GraphQL", partial(_graph, mesh, models))
    ways = (row, analysis, graph)
    await _interleaved(simulation, ways, requests, clients)
    _print(f"{len(models)} models of {COMPOSITE_MS:g} ms, clients: {clients}", ways)
    limit = 1 / len(models) - 1
    _judge("GraphQL beside REST's calls in a row", graph.p50 / row.p50 - 1, goal, limit)
    console.print(f"GraphQL beside REST's analysis: {graph.p50 / analysis.p50 - 1:+.0%}")


async def _single(simulation: Simulation, requests: int, clients: int) -> None:
    mesh = simulation.mesh
    rest = Way("REST", partial(_row, mesh, ("nsfw",)))
    graph = Way("GraphQL, POST", partial(_graph, mesh, ("nsfw",)))
    by_id = Way("GraphQL, GET by id", partial(_by_id, mesh, _registered(mesh, ("nsfw",))))
    ways = (rest, graph, by_id)
    await _interleaved(simulation, ways, requests, clients)
    _print(f"one model of {SINGLE_MS:g} ms, clients: {clients}", ways)
    for way in (graph, by_id):
        _judge(f"{way.name}, beside REST", way.p50 / rest.p50 - 1, SINGLE_GOAL)


async def _page(simulation: Simulation) -> None:
    mesh = simulation.mesh
    singles = Way(f"{PAGE} queries, {CLIENTS} at a time", partial(_graph, mesh, ALL))
    page = Way("one query", partial(_whole, mesh))
    ways = (singles, page)
    await _interleaved(simulation, ways, PAGE, CLIENTS)
    table(
        f"{PAGE} images, 4 models of {COMPOSITE_MS:g} ms a call",
        ["way", "ms", "all rounds", "CPU ms of the mesh"],
        [
            [
                way.name,
                f"{median(way.seconds) * 1e3:.0f}",
                " ".join(f"{each * 1e3:.0f}" for each in way.seconds),
                f"{median(way.cpu_ms) * PAGE:.0f}",
            ]
            for way in ways
        ],
    )
    _judge("time of one query", median(page.seconds) / median(singles.seconds) - 1, PAGE_GOAL)
    console.print(f"CPU of one query: {median(page.cpu_ms) / median(singles.cpu_ms) - 1:+.0%}")


async def _interleaved(
    simulation: Simulation, ways: tuple[Way, ...], requests: int, clients: int
) -> None:
    """Ask in every way in turn; the first round warms everything up and does not count.

    Each way has images of its own: what stands in Envoy's cache would be revalidated.
    """
    images = iter(await simulation.images((ROUNDS + 1) * len(ways) * requests))
    pids = {f"{name}.{replica}": pid for (name, replica), pid in simulation.mesh.pids.items()}
    for number in range(ROUNDS + 1):
        for way in ways:
            digests = list(islice(images, requests))
            before = cpu_seconds(pids)
            report = way.ask(digests, clients)
            used = sum(cpu_seconds(pids).values()) - sum(before.values())
            if number:
                way.latencies_ms += report.latencies_ms
                way.seconds.append(report.seconds)
                way.cpu_ms.append(used * 1e3 / len(digests))


def _row(mesh: Mesh, models: tuple[str, ...], digests: list[str], clients: int) -> load.Report:
    paths = [path for digest in digests for path in queries.in_a_row(models, digest)]
    return drive(mesh, clients, paths, in_a_row=len(models))


def _analysis(mesh: Mesh, models: tuple[str, ...], digests: list[str], clients: int) -> load.Report:
    paths = [queries.at_once(models, digest) for digest in digests]
    return drive(mesh, clients, paths, unwanted=queries.ERROR)


def _graph(mesh: Mesh, models: tuple[str, ...], digests: list[str], clients: int) -> load.Report:
    document = queries.one(models)
    return _post(mesh, clients, [queries.body(document, id=digest) for digest in digests])


def _whole(mesh: Mesh, digests: list[str], clients: int) -> load.Report:
    return _post(mesh, clients, [queries.body(queries.many(ALL), ids=digests)])


def _by_id(mesh: Mesh, document: str, digests: list[str], clients: int) -> load.Report:
    paths = [
        f"{queries.PATH}?documentId={document}&variables={quote(json.dumps({'id': digest}))}"
        for digest in digests
    ]
    return drive(mesh, clients, paths, unwanted=queries.ERRORS)


def _post(mesh: Mesh, clients: int, bodies: list[str]) -> load.Report:
    return drive(mesh, clients, [queries.PATH] * len(bodies), bodies, unwanted=queries.ERRORS)


def _registered(mesh: Mesh, models: tuple[str, ...]) -> str:
    """The id of a document that the gateway has been shown (an automatic persisted query)."""
    document = queries.one(models)
    name = hashlib.sha256(document.encode()).hexdigest()
    shown = {"query": document, "documentId": name, "variables": {"id": "0" * 64}}
    drive(mesh, 1, [queries.PATH], [json.dumps(shown)])
    return name


def _print(title: str, ways: tuple[Way, ...]) -> None:
    beside = ways[0]
    table(
        title,
        ["way", "p50 ms", "p95 ms", "a second", "p50", "CPU ms of the mesh"],
        [
            [
                way.name,
                f"{way.p50:.1f}",
                f"{percentile(way.latencies_ms, 95):.1f}",
                f"{len(way.latencies_ms) / sum(way.seconds):.0f}",
                f"{way.p50 / beside.p50 - 1:+.0%}",
                f"{median(way.cpu_ms):.1f}",
            ]
            for way in ways
        ],
    )


def _judge(what: str, change: float, goal: float, limit: float | None = None) -> None:
    word = "reached" if change <= goal else "missed"
    most = "" if limit is None else f", limit {limit:.0%}"
    console.print(f"{what}: {change:+.0%} (goal {goal:+.0%}{most}): {word}")
