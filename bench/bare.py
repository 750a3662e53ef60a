"""The limit: the same models with nothing around them, in a process of its own.

Reads each file that a model reads, then decodes, preprocesses, infers and postprocesses with the
mesh's own code and the same engines' settings, in a plain loop: whatever the model would do in a
thread is done in this one. Lists of images come in on standard input, one a line, and each is
answered by a line with what it took.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import cv2

from models import preparation, registry
from services.detection.architectures import CenterNet
from services.detection.architectures import warm_up as detection_shapes
from services.detection.model import DetectionModel
from services.inference.engine import Inputs, Tensors
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from services.logo import matching, prepared
from services.logo.comparison import Comparison
from services.logo.engine import SiftEngine
from services.logo.model import LogoModel
from services.logo.types import FeatureParameters, MatchParameters
from services.nsfw.model import NsfwModel
from services.nsfw.model import warm_up as nsfw_shapes
from services.nsfw.types import Parameters as NsfwParameters
from services.ocr.model import OcrModel
from services.ocr.model import warm_up as ocr_shapes
from services.ocr.types import Parameters as OcrParameters

T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """One stored image as models find it: two files, and the size of the upright original."""

    original: str
    rendition: str
    width: int
    height: int


@dataclass(frozen=True)
class BareReport:
    """What one or more loops took for their images, in the order of the images of each."""

    seconds: float
    latencies_ms: list[float]
    cpu_seconds: float


Look = Callable[[Stored], Awaitable[Any]]


class BareLoops:
    """Loops that run at the same time, each in a process of its own; a context ends them."""

    def __init__(self, models: Sequence[str], *, processes: int) -> None:
        self._loops = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.bare", *models],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]

    def __enter__(self) -> Self:
        for loop in self._loops:
            assert loop.stdout is not None
            loop.stdout.readline()  # warm: they start together
        return self

    def __exit__(self, *error: object) -> None:
        for loop in self._loops:
            loop.communicate()  # the end of its input is its end

    def look(self, images: Sequence[Stored]) -> BareReport:
        """Share images among the loops; each asks all models about each of its own."""
        count = len(self._loops)
        for index, loop in enumerate(self._loops):
            share = [asdict(image) for image in images[index::count]]
            assert loop.stdin is not None
            loop.stdin.write(json.dumps(share) + "\n")
            loop.stdin.flush()
        reports = []
        for loop in self._loops:
            assert loop.stdout is not None
            reports.append(BareReport(**json.loads(loop.stdout.readline())))
        return BareReport(
            seconds=max(report.seconds for report in reports),
            latencies_ms=[each for report in reports for each in report.latencies_ms],
            cpu_seconds=sum(report.cpu_seconds for report in reports),
        )


def run(models: Sequence[str], images: Sequence[Stored], *, processes: int) -> BareReport:
    """Have images looked at by loops that begin and end with it."""
    with BareLoops(models, processes=processes) as loops:
        return loops.look(images)


class _Here(ThreadPoolExecutor):
    """Does what it is given at once, on the caller's thread."""

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(call(*args, **kwargs))
        return future


class _BareOnnx(OnnxEngine):
    """ONNX Runtime as the mesh sets it, on the caller's thread."""

    async def infer(self, inputs: Inputs) -> Tensors:
        assert self._session is not None  # `load` has opened it
        return self._run(self._session, inputs)


class _BareSift(SiftEngine):
    """The logo service's engine, on the caller's thread."""

    async def infer(self, inputs: Inputs) -> Tensors:
        return self._run(inputs)


async def _nsfw() -> Look:
    engines = await _loaded({"nsfw": nsfw_shapes(NsfwParameters())})
    return _looking(NsfwModel(engines["nsfw"], ""))


async def _detection() -> Look:
    engines = await _loaded({"detection": detection_shapes(CenterNet())})
    return _looking(DetectionModel(engines["detection"], ""))


async def _ocr() -> Look:
    engines = await _loaded(ocr_shapes(OcrParameters()))
    return _looking(OcrModel(engines, dict.fromkeys(engines, "")))


async def _logo() -> Look:
    parameters = FeatureParameters()
    engine = _BareSift(max_features=parameters.max_features, contrast=parameters.contrast)
    await engine.load()
    model = LogoModel(engine, parameters)
    compared = Comparison(prepared.load(preparation.path(registry.find("logo"))))

    async def look(image: Stored) -> Any:
        size = (image.width, image.height)
        made = await model.predict(Picture(Path(image.rendition).read_bytes, *size))
        return matching.recognize(
            model.features(made, *size), compared, model.looked_at(*size), size, MatchParameters()
        )

    return look


MODELS: Final[dict[str, Callable[[], Awaitable[Look]]]] = {
    "nsfw": _nsfw,
    "detection": _detection,
    "ocr": _ocr,
    "logo": _logo,
}


async def _loaded(shapes: Mapping[str, Sequence[Tensors]]) -> dict[str, _BareOnnx]:
    engines = {}
    for name, warm_up in shapes.items():
        engine = _BareOnnx(
            registry.path(name), precision=registry.find(name).precision, warm_up=warm_up
        )
        await engine.load()
        engines[name] = engine
    return engines


def _looking(model: Any) -> Look:
    """What a model does with an image: reads what it reads, and looks."""

    async def look(image: Stored) -> Any:
        path = image.original if model.reads == "original" else image.rendition
        return await model.predict(Picture(Path(path).read_bytes, image.width, image.height))

    return look


async def _loop(names: Sequence[str]) -> None:
    cv2.setNumThreads(1)
    asyncio.get_running_loop().set_default_executor(_Here(1))
    looks = [await MODELS[name]() for name in names]
    print("warm", flush=True)
    for line in sys.stdin:
        images = [Stored(**image) for image in json.loads(line)]
        latencies_ms: list[float] = []
        cpu_before, started = _cpu_seconds(), time.perf_counter()
        for image in images:
            asked = time.perf_counter()
            for look in looks:
                await look(image)
            latencies_ms.append((time.perf_counter() - asked) * 1e3)
        seconds = time.perf_counter() - started
        report = BareReport(seconds, latencies_ms, _cpu_seconds() - cpu_before)
        print(json.dumps(asdict(report)), flush=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asyncio.run(_loop(sys.argv[1:]))
