"""What the processes of all models do alike: engine, data plane, results, server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from models import registry
from services import catalog, limits
from services.errors import VisionmeshError
from services.inference.engine import Engine, Tensors
from services.inference.onnx import OnnxEngine
from services.media.formats import MEDIA_TYPES
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving.dataplane import DataPlane, Derivation, Model
from services.serving.diagnostics import Diagnostics
from services.serving.logs import configure_logging
from services.serving.model_settings import ModelSettings
from services.serving.server import Register, run, serve
from visionmesh.common.v1 import model_pb2

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class ServedModel(Model[R], Protocol[R]):
    """A model that can be described."""

    @property
    def labels(self) -> Sequence[str]: ...


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
) -> None:
    """Serve the model that the catalog and the registry call `name`, until SIGTERM.

    Without an `engine` of its own it runs its registered weights on ONNX Runtime, and `warm_up`
    first. `make_model` gets the loaded engine and the SHA-256 of its file, `make_register` what
    answers calls and what is said of the model. With a `derivation` answers are derived from what
    the model makes. Raises ModelFileError, ModelUnavailable.
    """
    configure_logging(name, settings)
    entry = registry.find(name)
    engine = engine or OnnxEngine(
        registry.path(entry.name),
        precision=entry.precision,
        workers=settings.inference_workers,
        threads=settings.inference_threads,
        warm_up=warm_up,
    )
    try:
        await engine.load()
        model = make_model(engine, entry.sha256)
        objects = Objects.open(settings.object_store)
        diagnostics = Diagnostics()
        results = Results.over(
            objects,
            redis_url=settings.redis_url,
            redis_budget_s=settings.redis_budget_s,
            memory_bytes=settings.results_memory_bytes,
            diagnostics=diagnostics,
        )
        plane = DataPlane(model, ImageStore(objects), results, diagnostics, derivation)
        about = describe(
            name=model.name,
            version=derivation.version if derivation else model.version,
            labels=model.labels,
            description=entry.description,
            license=entry.license,
        )
        try:
            await results.start()
            await serve(
                make_register(plane, about),
                catalog.BY_NAME[name].grpc_service or "",
                settings,
                diagnostics,
            )
        finally:
            await plane.close()
            await results.close()
    finally:
        await engine.close()


def run_process(name: str, main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine; what a person can put right ends it without a traceback."""
    try:
        run(main)
    except (VisionmeshError, ValidationError) as error:
        sys.exit(f"{name}: {' '.join(str(error).split())}")
