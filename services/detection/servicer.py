"""DetectionService over gRPC: convert, delegate, convert."""

from __future__ import annotations

from typing import Any

import grpc

from services.detection.converters import detect_response, options
from services.detection.types import DetectionResult
from services.serving.dataplane import DataPlane
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.detection.v1 import detection_pb2, detection_pb2_grpc


class DetectionServicer(detection_pb2_grpc.DetectionServiceServicer):
    """Answers from the data plane, and describes its model."""

    def __init__(self, plane: DataPlane[DetectionResult], model: Model) -> None:
        self._plane = plane
        self._model = detection_pb2.GetModelResponse(model=model)

    async def Detect(
        self,
        request: detection_pb2.DetectRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> detection_pb2.DetectResponse:
        wanted = options(request)
        outcomes = await self._plane.outcomes(request.images, request.model_version)
        return detect_response(outcomes, wanted)

    async def GetModel(
        self,
        request: detection_pb2.GetModelRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> detection_pb2.GetModelResponse:
        return self._model
