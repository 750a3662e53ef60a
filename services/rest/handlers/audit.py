"""`/v1/audit`: the verdicts that were given to the tenant that asks."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from services.client.mesh import MeshClient
from services.names import image_id
from services.rest import query, views
from services.rest.answers import Kind
from services.rest.deadlines import time_limit

MAX_ENTRIES: Final = 1000
"""Entries of one page at most, as in the gRPC contract."""


class AuditHandlers:
    """Pages through the tenant's own verdicts, the newest first."""

    def __init__(self, mesh: MeshClient, kind: Kind) -> None:
        self._mesh = mesh
        self._kind = kind

    async def list(self, request: web.Request) -> web.Response:
        """GET /v1/audit"""
        asked = self._kind.asked(request, "cursor", "limit", "image")
        parameters = asked.parameters
        limit = query.whole_number(parameters, "limit", MAX_ENTRIES)
        digest = parameters.get("image", "")
        if digest:
            image_id(digest, "image")
        async with time_limit(request):
            page = await self._mesh.list_audit_entries(
                page_size=limit, page_token=parameters.get("cursor", ""), digest=digest
            )
        # The next verdict is on the first page already, and on which page an old one is depends.
        return asked.forgotten(views.audit_page(page))
