"""LogoService over gRPC: convert, delegate, convert."""

from __future__ import annotations

from typing import Any

import grpc

from services.logo.brands import Brands
from services.logo.converters import brand_to_proto, options, recognize_response
from services.serving.dataplane import DataPlane
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.logo.v1 import logo_pb2, logo_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class LogoServicer(logo_pb2_grpc.LogoServiceServicer):
    """Answers from the data plane, keeps brands, and describes its model."""

    def __init__(self, plane: DataPlane[bytes], brands: Brands, model: Model) -> None:
        self._plane = plane
        self._brands = brands
        self._model = logo_pb2.GetModelResponse(model=model)

    async def Recognize(
        self, request: logo_pb2.RecognizeRequest, context: Context
    ) -> logo_pb2.RecognizeResponse:
        known = await self._brands.known() if request.brands else frozenset[str]()
        wanted = options(request, known)
        outcomes = await self._plane.outcomes(request.images, request.model_version)
        return recognize_response(outcomes, wanted)

    async def GetModel(
        self, request: logo_pb2.GetModelRequest, context: Context
    ) -> logo_pb2.GetModelResponse:
        return self._model

    async def RegisterBrand(
        self, request: logo_pb2.RegisterBrandRequest, context: Context
    ) -> logo_pb2.RegisterBrandResponse:
        brand = await self._brands.register(request.name, request.picture)
        return logo_pb2.RegisterBrandResponse(brand=brand_to_proto(brand))

    async def ListBrands(
        self, request: logo_pb2.ListBrandsRequest, context: Context
    ) -> logo_pb2.ListBrandsResponse:
        page, token = await self._brands.page(
            request.page_size, request.page_token, request.own_only
        )
        return logo_pb2.ListBrandsResponse(brands=map(brand_to_proto, page), next_page_token=token)

    async def DeleteBrand(
        self, request: logo_pb2.DeleteBrandRequest, context: Context
    ) -> logo_pb2.DeleteBrandResponse:
        await self._brands.delete(request.name)
        return logo_pb2.DeleteBrandResponse()
