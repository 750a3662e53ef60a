"""`/v1/images`: what goes in, and what is known of it."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from services.client.mesh import MeshClient
from services.names import image_id
from services.rest import query, views
from services.rest.answers import FORGET, Asked, Kind
from services.rest.bodies import BodyReader
from services.rest.deadlines import time_limit, timeout_s
from services.rest.uploads import Uploads
from visionmesh.images.v1.images_pb2 import CreateImageResponse


class ImageHandlers:
    """Stores, describes and deletes images."""

    def __init__(self, mesh: MeshClient, bodies: BodyReader, uploads: Uploads, kind: Kind) -> None:
        self._mesh = mesh
        self._bodies = bodies
        self._uploads = uploads
        self._kind = kind

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/images"""
        asked = self._kind.asked(request)
        timeout_s(request)  # whatever can be refused is refused before the body is read
        async with self._bodies.image(request) as body, time_limit(request):
            return _stored(asked, await self._uploads.store(body))

    async def put(self, request: web.Request) -> web.Response:
        """PUT /v1/images/{id}"""
        asked = self._kind.asked(request)
        digest = image_id(request.match_info["id"])
        timeout_s(request)
        async with self._bodies.image(request, form=False) as body, time_limit(request):
            return _stored(asked, await self._uploads.store(body, digest))

    async def get(self, request: web.Request) -> web.Response:
        """GET and HEAD /v1/images/{id}"""
        asked = self._kind.asked(request)
        digest = image_id(request.match_info["id"])
        async with time_limit(request):
            image = await self._mesh.get_image(digest)
        # An image that is deleted and stored again is the same one of another date.
        return asked.kept(views.image(image), digest, image.created_at.ToJsonString())

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/images/{id}"""
        query.parse(request.rel_url.raw_query_string)
        digest = image_id(request.match_info["id"])
        async with time_limit(request):
            await self._mesh.delete_image(digest)
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Cache-Control": FORGET})


def _stored(asked: Asked, stored: CreateImageResponse) -> web.Response:
    return asked.forgotten(
        views.image(stored.image),
        HTTPStatus.CREATED if stored.created else HTTPStatus.OK,
        headers={"Location": f"/v1/images/{stored.image.digest}"},
    )
