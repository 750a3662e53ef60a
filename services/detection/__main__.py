"""The detection process: `python -m services.detection`."""

from __future__ import annotations

from functools import partial

from services.detection.model import DetectionModel, warm_up
from services.detection.servicer import DetectionServicer
from services.detection.settings import DetectionSettings
from services.serving.model_process import run_process, serve_model
from visionmesh.detection.v1.detection_pb2_grpc import add_DetectionServiceServicer_to_server


async def main() -> None:
    settings = DetectionSettings()
    await serve_model(
        "detection",
        settings,
        warm_up=warm_up(settings.parameters),
        make_model=partial(DetectionModel, parameters=settings.parameters),
        make_register=lambda plane, about: partial(
            add_DetectionServiceServicer_to_server, DetectionServicer(plane, about)
        ),
    )


if __name__ == "__main__":
    run_process("detection", main())
