"""Answers as HTTP: what may be kept, by whom, and under which entity tag.

Nothing here varies by a request header, and nothing is compressed: both are Envoy's, whose cache
keeps no answer that says `Vary` or `private`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from services.rest import etags, query
from services.rest.fields import Projection, Selector

KEEP: Final = "no-cache"
"""Keep it, and ask before using it: the question costs no inference."""

FORGET: Final = "no-store"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of one kind of answer: its parameters, and the fields it wants."""

    parameters: Mapping[str, str]
    projection: Projection
    kind: str
    if_none_match: str

    def etag(self, *parts: str) -> str:
        """The entity tag of this answer when it is made of `parts`."""
        return etags.etag(self.kind, self.projection.key, *parts)

    def known(self, tag: str) -> bool:
        """Whether the client has the answer with this tag already."""
        return bool(self.if_none_match) and etags.matches(self.if_none_match, tag)

    def not_modified(self, tag: str) -> web.Response:
        """304: what the client has is still right."""
        headers = {"ETag": tag, "Cache-Control": KEEP}
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)

    def kept(self, view: Any, *parts: str) -> web.Response:
        """200 with an entity tag, or 304 when the client has it."""
        tag = self.etag(*parts)
        if self.known(tag):
            return self.not_modified(tag)
        return self._json(view, HTTPStatus.OK, {"ETag": tag, "Cache-Control": KEEP})

    def forgotten(
        self,
        view: Any,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """An answer that nobody may keep."""
        return self._json(view, status, {"Cache-Control": FORGET, **(headers or {})})

    def _json(self, view: Any, status: HTTPStatus, headers: dict[str, str]) -> web.Response:
        headers["Content-Type"] = "application/json"
        body = orjson.dumps(self.projection.apply(view))
        return web.Response(status=status, body=body, headers=headers)


class Kind:
    """One kind of answer: its selections, and its part of every entity tag.

    `version` is that of the code that writes answers (`document.representation_version`).
    """

    def __init__(self, name: str, selector: Selector, version: str) -> None:
        self._selector = selector
        self._tag = f"{name}/{version}"

    def asked(self, request: web.Request, *known: str) -> Asked:
        """What a request asks for, with the `known` parameters and `fields`.

        Raises InvalidArgument for any other parameter and for unknown fields.
        """
        parameters = query.parse(request.rel_url.raw_query_string, *known, "fields")
        return Asked(
            parameters,
            self._selector.select(parameters.get("fields")),
            self._tag,
            ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ())),
        )
