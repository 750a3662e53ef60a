"""`/v1/images/{id}/nsfw`: what the nsfw model sees."""

from __future__ import annotations

from aiohttp import web

from services.client.mesh import MeshClient
from services.rest import query, views
from services.rest.answers import Kind
from services.rest.deadlines import time_limit
from services.rest.versions import Versions
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef

MODEL = "nsfw"


class NsfwHandlers:
    """Scores images, and says without a model that a score is still the same."""

    def __init__(self, mesh: MeshClient, versions: Versions, kind: Kind) -> None:
        self._mesh = mesh
        self._versions = versions
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/nsfw"""
        asked = self._kind.asked(request)
        digest = query.image_id(request.match_info["id"])
        async with time_limit(request):
            if asked.if_none_match and (parts := await self._versions.of_model(MODEL)):
                tag = asked.etag(digest, *parts)
                if asked.known(tag):
                    await self._mesh.get_image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag)
            outcome = (await self._mesh.classify([ImageRef(digest=digest)]))[0]
        if outcome.HasField("error"):
            raise status.from_status(outcome.error)
        return asked.kept(views.nsfw(outcome), digest, MODEL, outcome.model_version)
