"""`python -m bench.batches`: batches of several sizes, and none, behind one data plane.

A call for many photos that no model has looked at yet, and beside it one client that asks for one
at a time. Rounds are interleaved, and everything is in this process: what gRPC takes is the same
for all.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import typer

from bench.photos import photos
from models import registry
from services.detection.architectures import CenterNet
from services.detection.architectures import warm_up as detection_shapes
from services.detection.model import DetectionModel
from services.inference.batching import BatchingEngine
from services.inference.engine import Engine, Tensors
from services.inference.onnx import OnnxEngine
from services.media.objects import Objects
from services.media.store import ImageStore
from services.nsfw.model import NsfwModel
from services.nsfw.model import warm_up as nsfw_shapes
from services.nsfw.types import Parameters
from services.results.results import Results
from services.serving import tenancy
from services.serving.dataplane import BATCH_CONCURRENCY, DataPlane, Model
from services.serving.model_settings import available_cores
from visionmesh.common.v1.image_pb2 import ImageRef

LONE: Final = 200
"""Photos that are there to be asked for one at a time."""

Make = Callable[[Engine, str], Model[Any]]

MODELS: Final[dict[str, tuple[Sequence[Tensors], Make]]] = {
    "nsfw": (nsfw_shapes(Parameters()), NsfwModel),
    "detection": (detection_shapes(CenterNet()), DetectionModel),
}


@dataclass
class Row:
    """One way of batching: its engine, and what was seen of it."""

    name: str
    engine: Engine
    at_once: int
    a_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)
    alone_cpu_ms: list[float] = field(default_factory=list)


def main(
    model: Annotated[str, typer.Argument(help="nsfw or detection.")] = "nsfw",
    images: Annotated[int, typer.Option(help="Photos of one call.")] = 100,
    rounds: int = 5,
    sizes: Annotated[
        str, typer.Option(help="Batch sizes, 0 for no batching at all.")
    ] = "0,1,2,4,8",
) -> None:
    """Measure a call for many photos, and lone calls beside it and alone."""
    asyncio.run(_measure(model, images, rounds, [int(size) for size in sizes.split(",")]))


async def _measure(name: str, images: int, rounds: int, sizes: Sequence[int]) -> None:
    warm_up, make = MODELS[name]
    rows = [await _row(name, size, warm_up) for size in sizes]
    tenancy.act_for("local")
    with tempfile.TemporaryDirectory() as folder:
        objects = Objects.open(Path(folder))
        store = ImageStore(objects)
        made = [await store.create("local", photo) for photo in photos(images + LONE)]
        refs = [ImageRef(digest=record.digest) for record, _ in made]
        versions = count()
        for number in range(rounds):
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                results = Results.over(objects)
                # Another name for the weights is another version: nothing of it is stored.
                plane = DataPlane(
                    make(row.engine, f"bench {next(versions)}"),
                    store,
                    results,
                    at_once=row.at_once,
                )
                await _round(row, plane, refs[:images], refs[images:])
                await plane.close()
                await results.close()
    for row in rows:
        await row.engine.close()
    _report(rows)


async def _row(name: str, size: int, warm_up: Sequence[Tensors]) -> Row:
    entry = registry.find(name)
    workers = available_cores()
    engine: Engine = OnnxEngine(
        registry.path(name), precision=entry.precision, workers=workers, warm_up=warm_up
    )
    if size:
        engine = BatchingEngine(engine, concurrency=workers, size=size, warm_up=warm_up)
    await engine.load()
    return Row(str(size or "none"), engine, max(BATCH_CONCURRENCY, 2 * size * workers))


async def _round(
    row: Row, plane: DataPlane[Any], many: Sequence[ImageRef], lone: Sequence[ImageRef]
) -> None:
    waiting = iter(lone)
    for _ in range(20):
        began, cpu = time.perf_counter(), time.process_time()
        await _asked(plane, [next(waiting)])
        row.alone_ms.append((time.perf_counter() - began) * 1000)
        row.alone_cpu_ms.append((time.process_time() - cpu) * 1000)
    half = len(many) // 2
    began, cpu = time.perf_counter(), time.process_time()
    await _asked(plane, many[:half])
    row.a_second.append(half / (time.perf_counter() - began))
    row.cpu_ms.append((time.process_time() - cpu) * 1000 / half)
    call = asyncio.create_task(_asked(plane, many[half:]))
    while not call.done():
        began = time.perf_counter()
        await _asked(plane, [next(waiting)])
        if not call.done():
            row.beside_ms.append((time.perf_counter() - began) * 1000)
    await call


async def _asked(plane: DataPlane[Any], refs: Sequence[ImageRef]) -> None:
    for outcome in await plane.outcomes(refs):
        if outcome.error:
            raise outcome.error


def _report(rows: Sequence[Row]) -> None:
    first = median(rows[0].a_second)
    print("| batch | images a second | of the first | all rounds | CPU ms an image | ", end="")
    print("lone beside it: p50, worst ms | lone: p50 ms, CPU ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        each = " ".join(f"{one:.1f}" for one in row.a_second)
        print(
            f"| {row.name} | {median(row.a_second):.1f} | {median(row.a_second) / first:.2f} "
            f"| {each} | {median(row.cpu_ms):.1f} "
            f"| {median(row.beside_ms):.0f}, {max(row.beside_ms):.0f} "
            f"| {median(row.alone_ms):.2f}, {median(row.alone_cpu_ms):.2f} |"
        )


if __name__ == "__main__":
    typer.run(main)
