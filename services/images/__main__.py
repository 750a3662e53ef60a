"""The images process: `python -m services.images`."""

from __future__ import annotations

import sys
from functools import partial

from pydantic import ValidationError

from services.catalog import BY_NAME
from services.errors import VisionmeshError
from services.images.retention import Retention
from services.images.servicer import ImagesServicer
from services.images.settings import ImagesSettings
from services.images.sweeper import Sweeper
from services.media.exclusion import Exclusion
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving.diagnostics import Diagnostics
from services.serving.logs import configure_logging
from services.serving.server import run, serve
from visionmesh.images.v1.images_pb2_grpc import add_ImageServiceServicer_to_server

PROCESS = BY_NAME["images"]


async def main() -> None:
    settings = ImagesSettings()
    configure_logging(PROCESS.name, settings)
    diagnostics = Diagnostics()
    objects = Objects.open(settings.object_store)
    results = Results.over(
        objects,
        redis_url=settings.redis_url,
        redis_budget_s=settings.redis_budget_s,
        diagnostics=diagnostics,
    )
    store = ImageStore(
        objects,
        concurrency=settings.decode_concurrency,
        on_gone=results.forget,
        on_kept=results.admit,
        exclusion=Exclusion(settings.data_dir),
    )
    sweeper = Sweeper(store, objects, Retention(settings.retention_days))
    diagnostics.watch("deletions", lambda: sweeper.ailment)
    servicer = ImagesServicer(store, max_uploads=settings.max_uploads)
    try:
        await sweeper.start()
        register = partial(add_ImageServiceServicer_to_server, servicer)
        await serve(register, PROCESS.name, settings, diagnostics)
    finally:
        await sweeper.close()
        await store.close()
        await results.close()


if __name__ == "__main__":
    try:
        run(main())
    except (VisionmeshError, ValidationError) as error:
        # What is wrong outside of the program, a person can put right: no traceback.
        sys.exit(f"{PROCESS.name}: {' '.join(str(error).split())}")
