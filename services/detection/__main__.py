"""The detection process: `python -m services.detection`."""

from __future__ import annotations

from functools import partial

from models import registry
from services.detection.architectures import (
    Architecture,
    architecture_of,
    check_outputs,
    warm_up,
)
from services.detection.model import DetectionModel
from services.detection.servicer import DetectionServicer
from services.detection.settings import DetectionSettings
from services.inference.engine import Engine
from services.serving.model_process import run_process, serve_model
from visionmesh.detection.v1.detection_pb2_grpc import add_DetectionServiceServicer_to_server


async def main() -> None:
    settings = DetectionSettings()
    architecture = architecture_of(registry.find(settings.detection_model))
    await serve_model(
        "detection",
        settings,
        file=settings.detection_model,
        warm_up=warm_up(architecture),
        make_model=partial(make_model, architecture),
        make_register=lambda plane, about: partial(
            add_DetectionServiceServicer_to_server, DetectionServicer(plane, about)
        ),
    )


def make_model(architecture: Architecture, engine: Engine, weights: str) -> DetectionModel:
    """The model on a loaded engine. Raises ModelFileError when the weights are of another kind."""
    check_outputs(architecture, engine)
    return DetectionModel(engine, weights, architecture)


if __name__ == "__main__":
    run_process("detection", main())
