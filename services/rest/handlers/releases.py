"""`/v1/releases`: what the mesh is made of, now and at any time before."""

from __future__ import annotations

from aiohttp import web

from services.releases.releases import Releases
from services.rest import query, views
from services.rest.answers import PINNED, Freshness, Kind
from services.rest.deadlines import time_limit


class ReleaseHandlers:
    """Describes releases: a name, and the versions behind it."""

    def __init__(self, releases: Releases, kind: Kind) -> None:
        self._releases = releases
        self._kind = kind

    async def current(self, request: web.Request) -> web.Response:
        """GET /v1/releases/current"""
        asked = self._kind.asked(request)
        async with time_limit(request):
            release = await self._releases.made_by({})
        freshness = Freshness(place=asked.place(f"/v1/releases/{release.name}"))
        return asked.kept(views.release(release), release.name, freshness=freshness)

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/releases/{release}"""
        asked = self._kind.asked(request)
        name = query.release_name(request.match_info["release"])
        async with time_limit(request):
            release = await self._releases.find(name)
        return asked.kept(views.release(release), release.name, freshness=Freshness(PINNED))
