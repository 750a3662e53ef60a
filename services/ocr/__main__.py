"""The ocr process: `python -m services.ocr`."""

from __future__ import annotations

from functools import partial

import cv2

from services.ocr.model import OcrModel, warm_up
from services.ocr.servicer import OcrServicer
from services.ocr.settings import OcrSettings
from services.serving.model_process import Measured, run_process, serve_files
from visionmesh.ocr.v1.ocr_pb2_grpc import add_OcrServiceServicer_to_server


async def main() -> None:
    settings = OcrSettings()
    # As everything here: one picture, one core. OpenCV's own threads would take the others'.
    cv2.setNumThreads(1)
    measured = Measured("ocr")
    await serve_files(
        "ocr",
        settings,
        warm_up=warm_up(settings.parameters),
        make_model=partial(
            OcrModel,
            parameters=settings.parameters,
            concurrency=settings.inference_workers,
            max_waiting=settings.max_waiting,
            metrics=measured.model,
        ),
        measured=measured,
        make_register=lambda plane, about: partial(
            add_OcrServiceServicer_to_server, OcrServicer(plane, about)
        ),
    )


if __name__ == "__main__":
    run_process("ocr", main())
