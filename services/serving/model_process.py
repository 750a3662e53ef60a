"""What the processes of all models do alike: engine, data plane, results, server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from models import registry
from services import limits
from services.errors import VisionmeshError
from services.inference.batching import BatchingEngine
from services.inference.engine import Engine, Tensors
from services.inference.metrics import ModelMetrics
from services.inference.onnx import OnnxEngine
from services.media.formats import MEDIA_TYPES
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving.dataplane import BATCH_CONCURRENCY, DataPlane, Derivation, Model
from services.serving.diagnostics import Diagnostics
from services.serving.logs import configure_logging
from services.serving.metrics import registry_of
from services.serving.model_settings import ModelSettings
from services.serving.server import Register, run, serve
from visionmesh.common.v1 import model_pb2

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class ServedModel(Model[R], Protocol[R]):
    """A model that can be described."""

    @property
    def labels(self) -> Sequence[str]: ...


class Measured:
    """What a model's process counts and measures, for the parts that are made before it serves."""

    def __init__(self, name: str) -> None:
        self.diagnostics = Diagnostics()
        self.registry = registry_of(name, self.diagnostics)
        self.model = ModelMetrics(name, self.registry)


def describe(
    *, name: str, version: str, labels: Sequence[str], description: str, license: str
) -> model_pb2.Model:
    """What a model is, and what one call may carry."""
    return model_pb2.Model(
        name=name,
        version=version,
        description=description,
        labels=labels,
        license=license,
        input_limits=model_pb2.InputLimits(
            max_images=limits.MAX_BATCH_IMAGES,
            max_image_bytes=limits.MAX_IMAGE_BYTES,
            max_image_pixels=limits.MAX_IMAGE_PIXELS,
            max_inline_bytes=limits.MAX_INLINE_BYTES,
            media_types=MEDIA_TYPES,
        ),
    )


async def serve_model(
    name: str,
    settings: ModelSettings,
    *,
    warm_up: Sequence[Tensors] = (),
    engine: Engine | None = None,
    derivation: Derivation | None = None,
    make_model: Callable[[Engine, str], ServedModel[R]],
    make_register: Callable[[DataPlane[R], model_pb2.Model], Register],
    file: str = "",
    measured: Measured | None = None,
) -> None:
    """Serve the model of one file that the catalog calls `name`, until SIGTERM.

    `file` is what the registry calls its weights, where that is something else. `make_model` gets
    the loaded engine and the SHA-256 of its file. An `engine` of its own is run in place of ONNX
    Runtime. Before the engine pictures wait for their turn; with `BatchSettings` one
    inference takes several. For the rest, and for what is raised, see `serve_files`.
    """
    file = file or name
    measured = measured or Measured(name)
    engine = engine or _engine(registry.find(file), settings, warm_up, measured)
    await serve_files(
        name,
        settings,
        warm_up={file: warm_up},
        make_model=lambda engines, weights: make_model(engines[file], weights[file]),
        make_register=make_register,
        engines={file: _queued(engine, settings, warm_up, measured)},
        derivation=derivation,
        measured=measured,
    )


async def serve_files(
    name: str,
    settings: ModelSettings,
    *,
    warm_up: Mapping[str, Sequence[Tensors]],
    make_model: Callable[[Mapping[str, Engine], Mapping[str, str]], ServedModel[R]],
    make_register: Callable[[DataPlane[R], model_pb2.Model], Register],
    engines: Mapping[str, Engine] = MappingProxyType({}),
    derivation: Derivation | None = None,
    measured: Measured | None = None,
) -> None:
    """Serve the model that the catalog calls `name`, until SIGTERM.

    `warm_up` has the inputs that each of its weight files is warmed up with, by the names of the
    registry; what describes it is the file that is called as the model, or else the first.
    `make_model` gets the loaded engines and the SHA-256 of their weights by the same names,
    `make_register` what answers calls and what is said of the model. Files that have no engine
    among `engines` are run by ONNX Runtime. With a `derivation` answers are derived from what the
    model makes. `measured` is what the parts that are given here measure with already. Raises
    ModelFileError, ModelUnavailable, and OSError when the port of the metrics is taken.
    """
    configure_logging(name, settings)
    entries = {file: registry.find(file) for file in warm_up}
    measured = measured or Measured(name)
    described = entries.get(name) or next(iter(entries.values()))
    engines = {
        file: engines.get(file) or _engine(entry, settings, warm_up[file], measured)
        for file, entry in entries.items()
    }
    try:
        for engine in engines.values():
            await engine.load()
        model = make_model(engines, {file: entry.sha256 for file, entry in entries.items()})
        objects = Objects.open(settings.object_store)
        diagnostics = measured.diagnostics
        results = Results.over(
            objects,
            redis_url=settings.redis_url,
            redis_budget_s=settings.redis_budget_s,
            memory_bytes=settings.results_memory_bytes,
            diagnostics=diagnostics,
        )
        plane = DataPlane(
            model,
            ImageStore(objects),
            results,
            diagnostics,
            derivation,
            at_once=_at_once(settings),
        )
        about = describe(
            name=model.name,
            version=derivation.version if derivation else model.version,
            labels=model.labels,
            description=described.description,
            license=described.license,
        )
        try:
            await results.start()
            await serve(
                make_register(plane, about),
                name,
                settings,
                diagnostics,
                measured.registry,
            )
        finally:
            await plane.close()
            await results.close()
    finally:
        for engine in engines.values():
            await engine.close()


def _engine(
    entry: registry.ModelFile,
    settings: ModelSettings,
    warm_up: Sequence[Tensors],
    measured: Measured,
) -> OnnxEngine:
    return OnnxEngine(
        registry.path(entry.name),
        precision=entry.precision,
        workers=settings.inference_workers,
        threads=settings.inference_threads,
        warm_up=warm_up,
        metrics=measured.model,
        file=entry.name,
    )


def _queued(
    engine: Engine, settings: ModelSettings, warm_up: Sequence[Tensors], measured: Measured
) -> Engine:
    size, wait_s = settings.batching
    return BatchingEngine(
        engine,
        concurrency=settings.inference_workers,
        size=size,
        wait_s=wait_s,
        max_waiting=settings.max_waiting,
        warm_up=warm_up,
        metrics=measured.model,
    )


def _at_once(settings: ModelSettings) -> int:
    """Images of one call that are worked on at a time: those of all batches, and of the next."""
    size, _ = settings.batching
    return max(BATCH_CONCURRENCY, 2 * size * settings.inference_workers)


def run_process(name: str, main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine; what a person can put right ends it without a traceback."""
    try:
        run(main)
    except (VisionmeshError, ValidationError) as error:
        sys.exit(f"{name}: {' '.join(str(error).split())}")
