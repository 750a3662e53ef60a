"""The logo process: `python -m services.logo`."""

from __future__ import annotations

from functools import partial

from models import preparation, registry
from services.brands.store import BrandStore
from services.logo import prepared
from services.logo.brands import Brands
from services.logo.engine import SiftEngine
from services.logo.model import LogoModel
from services.logo.own_marks import OwnMarks
from services.logo.recognition import Recognition, base_revision
from services.logo.servicer import LogoServicer
from services.logo.settings import LogoSettings
from services.media.objects import Objects
from services.media.store import ImageStore
from services.serving.model_process import Measured, run_process, serve_model
from visionmesh.logo.v1.logo_pb2_grpc import add_LogoServiceServicer_to_server


async def main() -> None:
    settings = LogoSettings()
    parameters = settings.parameters
    entry = registry.find("logo")
    built_in = prepared.load(preparation.path(entry))
    measured = Measured("logo")
    engine = SiftEngine(
        max_features=parameters.max_features,
        contrast=parameters.contrast,
        workers=settings.inference_workers,
        metrics=measured.model,
    )
    model = LogoModel(engine, parameters, built_in.brands)
    objects = Objects.open(settings.object_store)
    store = BrandStore(objects)
    own_marks = OwnMarks(store, ImageStore(objects))
    recognition = Recognition(
        model,
        built_in,
        base_revision(prepared.recipe(entry.sha256), own_marks.revision),
        store,
        own_marks,
        workers=settings.inference_workers,
        metrics=measured.model,
    )
    brands = Brands(store, own_marks, built_in.brands)
    try:
        await serve_model(
            "logo",
            settings,
            engine=engine,
            derivation=recognition,
            measured=measured,
            make_model=lambda _engine, _weights: model,
            make_register=lambda plane, about: partial(
                add_LogoServiceServicer_to_server, LogoServicer(plane, brands, about)
            ),
        )
    finally:
        await recognition.close()


if __name__ == "__main__":
    run_process("logo", main())
