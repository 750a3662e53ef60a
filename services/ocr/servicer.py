"""OcrService over gRPC: convert, delegate, convert."""

from __future__ import annotations

from typing import Any

import grpc

from services.ocr.converters import options, read_response
from services.ocr.types import OcrResult
from services.serving.dataplane import DataPlane
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.ocr.v1 import ocr_pb2, ocr_pb2_grpc


class OcrServicer(ocr_pb2_grpc.OcrServiceServicer):
    """Answers from the data plane, and describes its model."""

    def __init__(self, plane: DataPlane[OcrResult], model: Model) -> None:
        self._plane = plane
        self._model = ocr_pb2.GetModelResponse(model=model)

    async def Read(
        self, request: ocr_pb2.ReadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ocr_pb2.ReadResponse:
        outcomes = await self._plane.outcomes(request.images, request.model_version)
        return read_response(outcomes, options(request))

    async def GetModel(
        self, request: ocr_pb2.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ocr_pb2.GetModelResponse:
        return self._model
