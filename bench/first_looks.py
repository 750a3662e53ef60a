"""REST beside the bare pipeline: stored photos that nobody has looked at, each asked for once.

Of each model by itself, and of the whole verdict.

Rounds are interleaved, bare and mesh in turn on the same photos, because machines are shared and
noisy; with one client photo by photo, so that both find the caches as cold. What the mesh costs is
said twice: the CPU time of all its processes less the bare loop's on the same photos, and that of
all its threads but those which look at images, which knows nothing of how long an inference takes
today. The client's is left out, and so is what the mesh uses without any request (health checks),
which is measured first and printed beside it. So is what a call costs here that does nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench import bare, load
from bench.bare import Stored
from bench.calibration import GOALS_CALL_MS, call_ms
from bench.cpu import cpu_seconds, looking_seconds, per_request_ms
from bench.photos import photos, upload
from bench.report import console, machine, median, percentile, table
from mesh.launcher import Mesh, running_mesh
from services.catalog import BY_NAME, METRICS_OFFSET
from services.media.record import ImageRecord
from services.media.store import image_folder

CONNECTIONS: Final = (1, 10, 50)
ROUNDS: Final = 3
BIG: Final = 4
"""Photos of 12 megapixels in every round with one client, where there are any. Ten clients would
wait longer for them than a request about one image may take."""

BACKGROUND_S: Final = 10.0
BARE_PROCESSES: Final = {1: 1, 10: 2, 50: 2}

INVOLVED_MS: Final = 0.2
"""Processes that use less of a request are shown together."""

MAX_CPU_MS: Final = 3.0
"""Goal: CPU outside the bare pipeline, milliseconds a request."""

MAX_P50_MS: Final = 4.0
"""Goal: median over the bare call with one client, milliseconds."""


@dataclass(frozen=True)
class Subject:
    """What is asked about each photo, and the models that look at it then.

    `cost` is about how many times as long as nsfw it takes: so many fewer photos are asked about.
    """

    name: str
    path: str
    models: tuple[str, ...]
    cost: int
    big: bool = True


SUBJECTS: Final = (
    Subject("nsfw", "nsfw", ("nsfw",), 1, big=False),
    Subject("detection", "detection", ("detection",), 3),
    Subject("ocr", "ocr", ("ocr",), 10),
    Subject("logo", "logo", ("logo",), 8),
    Subject("verdict", "moderation", ("nsfw", "detection", "ocr", "logo"), 10),
)


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
    looking_ms: float = 0.0
    """Of those, what threads used that look at images."""

    @property
    def bare_cpu_ms(self) -> float:
        return self.bare_cpu_seconds * 1e3 / self.requests

    @property
    def over_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values()) - self.bare_cpu_ms

    @property
    def around_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values()) - self.looking_ms


async def main(requests: int, names: Sequence[str] = ()) -> None:
    """Measure some subjects (none named: all), with `requests` photos for each round of nsfw."""
    for subject in SUBJECTS:
        if not names or subject.name in names:
            await _measure(subject, max(2 * BIG, requests // subject.cost))


async def _measure(subject: Subject, requests: int) -> None:
    console.print(f"[bold]{subject.name}: REST beside the bare pipeline[/] ({machine()})")
    big = BIG if subject.big else 0
    rounds = ROUNDS * len(CONNECTIONS)
    images = photos(requests * rounds, text=subject.big)
    large = photos(big * ROUNDS, width=4000, height=3000, text=True)
    kinds = f"{len(images)} photos of {len(images[0]) // 1000} kB, 1280 x 960"
    if large:
        kinds += f"; {len(large)} of {len(large[0]) // 1000} kB, 4000 x 3000"
    console.print(kinds)
    with tempfile.TemporaryDirectory() as folder:
        async with running_mesh(Path(folder), log_level="warning") as mesh:
            # Before the uploads, whose aftermath would count as idle and flatter every request.
            background = await _background(mesh)
            small = iter(await upload(mesh.mesh_address, images))
            others = iter(await upload(mesh.mesh_address, large))
            series: dict[int, Series] = {count: Series() for count in CONNECTIONS}
            for _ in range(ROUNDS):
                for connections, found in series.items():
                    few = big if connections == 1 else 0
                    digests = [*islice(others, few), *islice(small, requests - few)]
                    _round(mesh, subject, digests, connections, found, background)
    _print(subject, series, background, await call_ms())


async def _background(mesh: Mesh) -> dict[str, float]:
    """CPU seconds a second that each process uses while nobody asks for anything."""
    pids = _pids(mesh)
    before = cpu_seconds(pids)
    await asyncio.sleep(BACKGROUND_S)
    after = cpu_seconds(pids)
    return {name: (after[name] - before[name]) / BACKGROUND_S for name in before}


def _pids(mesh: Mesh) -> dict[str, int]:
    return {f"{name}.{replica}": pid for (name, replica), pid in mesh.pids.items()}


def _stored(mesh: Mesh, digest: str) -> Stored:
    folder = mesh.data.root / "objects" / image_folder(digest)
    record = ImageRecord.decode((folder / "meta.json").read_bytes())
    original = str(folder / "original")
    rendition = str(folder / "rendition") if record.rendition_bytes else original
    return Stored(original, rendition, record.width, record.height)


def _round(
    mesh: Mesh,
    subject: Subject,
    digests: list[str],
    connections: int,
    series: Series,
    background: dict[str, float],
) -> None:
    edge = urlsplit(mesh.edge_url)
    pids = _pids(mesh)
    looking = [BY_NAME[model].port(mesh.options.port) + METRICS_OFFSET for model in subject.models]
    turn = 1 if connections == 1 else len(digests)
    with (
        bare.BareLoops(subject.models, processes=BARE_PROCESSES[connections]) as loops,
        load.Client() as client,
    ):
        before = cpu_seconds(pids)
        looked = sum(map(looking_seconds, looking))
        seconds = idle_seconds = 0.0
        for at in range(0, len(digests), turn):
            some = digests[at : at + turn]
            begun = time.perf_counter()
            alone = loops.look([_stored(mesh, digest) for digest in some])
            idle_seconds += time.perf_counter() - begun
            paths = [f"/v1/images/{digest}/{subject.path}" for digest in some]
            report = client.run(load.Job(edge.hostname or "", edge.port or 0, connections, paths))
            if report.failures:
                raise SystemExit(f"{len(report.failures)} requests failed: {report.failures[0]}")
            seconds += report.seconds
            series.bare_seconds += alone.seconds
            series.mesh_ms += report.latencies_ms
            series.bare_ms += alone.latencies_ms
            series.bare_cpu_seconds += alone.cpu_seconds
        used = per_request_ms(before, cpu_seconds(pids), len(digests))
        looked = sum(map(looking_seconds, looking)) - looked
    series.requests += len(digests)
    series.mesh_seconds += seconds
    series.looking_ms += looked * 1e3 / len(digests) / ROUNDS
    for name, cost in used.items():
        idle_ms = background[name] * (seconds + idle_seconds) * 1e3 / len(digests)
        series.cpu_ms[name] += (cost - idle_ms) / ROUNDS


def _print(
    subject: Subject, series: dict[int, Series], background: dict[str, float], a_call_ms: float
) -> None:
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
    involved = [
        name
        for name in background
        if any(found.cpu_ms[name] >= INVOLVED_MS for found in series.values())
    ]
    table(
        "CPU milliseconds a request",
        ["clients", "bare", *involved, "others", "of all looking", "over bare", "around it"],
        [
            [
                str(connections),
                f"{found.bare_cpu_ms:.2f}",
                *(f"{found.cpu_ms[name]:.2f}" for name in involved),
                f"{sum(found.cpu_ms[name] for name in background if name not in involved):.2f}",
                f"{found.looking_ms:.2f}",
                f"{found.over_cpu_ms:.2f}",
                f"{found.around_cpu_ms:.2f}",
            ]
            for connections, found in series.items()
        ],
    )
    idle = ", ".join(f"{name} {used:.1%}" for name, used in background.items())
    console.print(f"of one core without any request: {idle}")
    one = series[1]
    over_ms = median(one.mesh_ms) - median(one.bare_ms)
    calls = len(subject.models)
    console.print(
        f"p50 over the bare call, one client: {over_ms:.2f} ms (goal for one model {MAX_P50_MS:g})"
    )
    for what, worst in (
        ("over the bare pipeline's", max(found.over_cpu_ms for found in series.values())),
        ("around the looking threads'", max(found.around_cpu_ms for found in series.values())),
    ):
        console.print(
            f"CPU {what}, at most: {worst:.2f} ms, {worst / calls:.2f} a model "
            f"(goal {MAX_CPU_MS:g})"
        )
    slower = a_call_ms / GOALS_CALL_MS
    console.print(
        f"a gRPC call that does nothing: {a_call_ms:.2f} ms of CPU at its server, {slower:.1f} "
        f"times what it took where the goals were set; by that they are {MAX_P50_MS * slower:.1f} "
        f"ms for the median and {MAX_CPU_MS * slower:.1f} ms of CPU here"
    )
