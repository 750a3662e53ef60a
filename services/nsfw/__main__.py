"""The nsfw process: `python -m services.nsfw`."""

from __future__ import annotations

import sys
from functools import partial

from pydantic import ValidationError

from models import registry
from services import catalog
from services.errors import VisionmeshError
from services.inference.onnx import OnnxEngine
from services.media.formats import MEDIA_TYPES
from services.media.objects import Objects
from services.media.store import ImageStore
from services.nsfw.converters import model_response
from services.nsfw.model import NsfwModel, warm_up
from services.nsfw.servicer import NsfwServicer
from services.nsfw.settings import NsfwSettings
from services.results.results import Results
from services.serving.dataplane import DataPlane
from services.serving.diagnostics import Diagnostics
from services.serving.logs import configure_logging
from services.serving.server import run, serve
from visionmesh.nsfw.v1.nsfw_pb2_grpc import add_NsfwServiceServicer_to_server


async def main() -> None:
    settings = NsfwSettings()
    configure_logging("nsfw", settings)
    entry = registry.find("nsfw")
    parameters = settings.parameters
    engine = OnnxEngine(
        registry.path(entry.name),
        precision=entry.precision,
        workers=settings.inference_workers,
        threads=settings.inference_threads,
        warm_up=warm_up(parameters),
    )
    try:
        await engine.load()
        model = NsfwModel(engine, entry.sha256, parameters)
        objects = Objects.open(settings.object_store)
        diagnostics = Diagnostics()
        results = Results.over(
            objects,
            redis_url=settings.redis_url,
            memory_bytes=settings.results_memory_bytes,
            diagnostics=diagnostics,
        )
        plane = DataPlane(model, ImageStore(objects), results, diagnostics)
        about = model_response(
            name=model.name,
            version=model.version,
            description=entry.description,
            labels=model.labels,
            license=entry.license,
            media_types=MEDIA_TYPES,
        )
        register = partial(add_NsfwServiceServicer_to_server, NsfwServicer(plane, about))
        try:
            await results.start()
            await serve(register, catalog.BY_NAME["nsfw"].grpc_service or "", settings, diagnostics)
        finally:
            await plane.close()
            await results.close()
    finally:
        await engine.close()


if __name__ == "__main__":
    try:
        run(main())
    except (VisionmeshError, ValidationError) as error:
        # What is wrong outside of the program, a person can put right: no traceback.
        sys.exit(f"nsfw: {' '.join(str(error).split())}")
