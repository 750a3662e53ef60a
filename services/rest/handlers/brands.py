"""`/v1/brands`: what logos are compared with, and the tenant's own among them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from services.client.mesh import MeshClient
from services.errors import InvalidArgument
from services.rest import query, views
from services.rest.answers import FORGET, Kind
from services.rest.bodies import BodyReader
from services.rest.deadlines import time_limit, timeout_s

MAX_BRANDS: Final = 1000
"""Brands of one page at most, as in the gRPC contract."""

_BOOLEANS: Final = {"true": True, "false": False}


class BrandHandlers:
    """Registers, lists and removes brands."""

    def __init__(self, mesh: MeshClient, bodies: BodyReader, one: Kind, many: Kind) -> None:
        self._mesh = mesh
        self._bodies = bodies
        self._one = one
        self._many = many

    async def list(self, request: web.Request) -> web.Response:
        """GET /v1/brands"""
        asked = self._many.asked(request, "cursor", "limit", "own")
        parameters = asked.parameters
        limit = query.whole_number(parameters, "limit", MAX_BRANDS)
        own = parameters.get("own", "false")
        if own not in _BOOLEANS:
            raise InvalidArgument("own is true or false", field="own", limit="true, false")
        async with time_limit(request):
            page = await self._mesh.list_brands(
                page_size=limit, page_token=parameters.get("cursor", ""), own_only=_BOOLEANS[own]
            )
        # What was registered a moment ago is there at once: nobody keeps the page without it.
        return asked.forgotten(views.brand_page(page))

    async def put(self, request: web.Request) -> web.Response:
        """PUT /v1/brands/{name}"""
        asked = self._one.asked(request)
        name = query.brand_name(request.match_info["name"])
        timeout_s(request)  # whatever can be refused is refused before the body is read
        async with self._bodies.image(request, form=False) as body, time_limit(request):
            brand = await self._mesh.register_brand(name, body.data)
        return asked.forgotten(views.brand(brand), HTTPStatus.CREATED)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/brands/{name}"""
        query.parse(request.rel_url.raw_query_string)
        name = query.brand_name(request.match_info["name"])
        async with time_limit(request):
            await self._mesh.delete_brand(name)
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Cache-Control": FORGET})
