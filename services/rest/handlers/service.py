"""The facade about itself: whether it lives, whether it can work, and its contract."""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import Final

import orjson
from aiohttp import hdrs, web

from services.client.mesh import MeshClient
from services.errors import ImageNotFound, Unavailable
from services.releases.releases import Releases
from services.rest import etags, query
from services.rest.answers import FORGET, KEEP
from services.rest.document import Document
from services.serving import tenancy
from services.serving.ending import Ending

READY_TIMEOUT_S: Final = 1.0
"""How long the mesh may take to answer before the facade counts as not ready (a guess)."""

_NO_IMAGE: Final = "0" * 64


class ServiceHandlers:
    """Health, readiness, and the OpenAPI document, converted once."""

    def __init__(
        self, mesh: MeshClient, releases: Releases, document: Document, ending: Ending
    ) -> None:
        self._mesh = mesh
        self._releases = releases
        self._ending = ending
        self._document = StaticFile(orjson.dumps(document), "application/json")

    async def healthz(self, request: web.Request) -> web.Response:
        """GET /healthz: the process answers, and is not about to end."""
        query.parse(request.rel_url.raw_query_string)
        if self._ending.begun:
            raise Unavailable("this process ends")
        return _status("ok")

    async def readyz(self, request: web.Request) -> web.Response:
        """GET /readyz: the images service answers through the mesh, and believes the facade.

        Models are not asked: each of them may fail on its own. A facade that has just started waits
        for them to introduce themselves, though: which policies there are, and which release.
        """
        query.parse(request.rel_url.raw_query_string)
        if self._ending.begun:
            raise Unavailable("this process ends")
        if not self._releases.introduced:
            raise Unavailable("the mesh has not introduced itself yet")
        tenancy.act_for(tenancy.LOCAL)  # for nobody nothing would be looked up
        with suppress(ImageNotFound):  # an answer: nothing hashes to this
            await self._mesh.get_image(_NO_IMAGE, timeout_s=READY_TIMEOUT_S)
        return _status("ready")

    async def document(self, request: web.Request) -> web.Response:
        """GET /openapi.json"""
        query.parse(request.rel_url.raw_query_string)
        return self._document.answer(request)


class StaticFile:
    """Bytes that are the same for as long as the process runs."""

    def __init__(self, data: bytes, content_type: str, headers: dict[str, str] | None = None):
        self._data = data
        self._etag = etags.etag(blake2b(data, digest_size=16).hexdigest())
        self._headers = {"ETag": self._etag, "Cache-Control": KEEP, **(headers or {})}
        self._content_type = content_type

    def answer(self, request: web.Request) -> web.Response:
        """200 with the bytes, or 304."""
        asked = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ()))
        if asked and etags.matches(asked, self._etag):
            return web.Response(status=304, headers=self._headers)
        headers = {"Content-Type": self._content_type, **self._headers}
        return web.Response(body=self._data, headers=headers)


def _status(word: str) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": FORGET}
    return web.Response(body=orjson.dumps({"status": word}), headers=headers)
