"""NsfwService over gRPC: convert, delegate, convert."""

from __future__ import annotations

from typing import Any

import grpc

from services.nsfw.converters import classify_response
from services.nsfw.types import NsfwResult
from services.serving.dataplane import DataPlane
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.nsfw.v1 import nsfw_pb2, nsfw_pb2_grpc


class NsfwServicer(nsfw_pb2_grpc.NsfwServiceServicer):
    """Answers from the data plane, and describes its model."""

    def __init__(self, plane: DataPlane[NsfwResult], model: Model) -> None:
        self._plane = plane
        self._model = nsfw_pb2.GetModelResponse(model=model)

    async def Classify(
        self,
        request: nsfw_pb2.ClassifyRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> nsfw_pb2.ClassifyResponse:
        return classify_response(await self._plane.outcomes(request.images, request.model_version))

    async def GetModel(
        self,
        request: nsfw_pb2.GetModelRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> nsfw_pb2.GetModelResponse:
        return self._model
