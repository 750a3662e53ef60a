"""`/docs`: the API viewer, from our own origin and under a strict policy."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from services.rest import query
from services.rest.handlers.service import StaticFile
from services.rest.problems import HttpError

PAGE_DIR: Final = Path(__file__).resolve().parents[1] / "viewer"

# Everything from here and nothing inline, but pictures that the viewer's style sheet carries.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE: Final = {"": "text/html; charset=utf-8", "initializer.js": "text/javascript; charset=utf-8"}
"""Ours: the page and what starts the viewer in it."""

ASSETS: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""What the page loads of swagger-ui-dist."""

_log = structlog.get_logger()


class DocsHandlers:
    """Serves the viewer from memory, or says what is missing."""

    def __init__(self, viewer_dir: Path) -> None:
        self._files: dict[str, StaticFile] = {}
        try:
            self._files = {
                **{name: _file(PAGE_DIR / (name or "index.html"), PAGE[name]) for name in PAGE},
                **{name: _file(viewer_dir / name, kind) for name, kind in ASSETS.items()},
            }
        except OSError as error:
            _log.warning("the API viewer is not installed", missing=error.filename)

    async def get(self, request: web.Request) -> web.Response:
        """GET /docs and GET /docs/{file}"""
        query.parse(request.rel_url.raw_query_string)
        if not self._files:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "VIEWER_NOT_INSTALLED",
                "the API viewer is not installed: run `npm ci`, or set VISIONMESH_VIEWER_DIR to "
                "the folder of npm's swagger-ui-dist; the document itself is at /openapi.json",
            )
        file = self._files.get(request.match_info.get("file", ""))
        if file is None:
            raise web.HTTPNotFound
        return file.answer(request)


def _file(path: Path, content_type: str) -> StaticFile:
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return StaticFile(path.read_bytes(), content_type, headers)
