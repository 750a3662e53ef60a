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
from services.rest.fields import WHOLE, Projection, Selector
from services.rest.selections import SchemaSelections

KEEP: Final = "no-cache"
"""Keep it, and ask before using it: the question costs no inference."""

PINNED: Final = "max-age=31536000, s-maxage=60, immutable"
"""What names its release never changes: a client may keep it for good. What is shared is let go of
within a minute, so that what was deleted is gone from there as well."""

FORGET: Final = "no-store"


@dataclass(frozen=True, slots=True)
class Freshness:
    """For how long an answer is good, and where it can be had again from the same release."""

    cache_control: str = KEEP
    place: str = ""

    def headers(self) -> dict[str, str]:
        headers = {"Cache-Control": self.cache_control}
        if self.place:
            headers["Content-Location"] = self.place
        return headers


CURRENT: Final = Freshness()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of one kind of answer: its parameters, and the fields it wants."""

    path: str
    parameters: Mapping[str, str]
    projection: Projection
    kind: str
    if_none_match: str
    selections: SchemaSelections

    @property
    def release(self) -> str:
        """The release that the answer is pinned to, empty for none. Raises InvalidArgument."""
        pinned = self.parameters.get("release")
        return query.release_name(pinned) if pinned else ""

    def etag(self, *parts: str) -> str:
        """The entity tag of this answer when it is made of `parts`."""
        return etags.etag(self.kind, self.projection.key, *parts)

    def known(self, tag: str) -> bool:
        """Whether the client names this tag, so that the answer need not be made for it.

        `*` names no answer: whether there is any is not known before it is made.
        """
        return bool(self.if_none_match) and etags.names(self.if_none_match, tag)

    def place(self, path: str = "", **more: str) -> str:
        """The one way to write this answer's URL, at `path` if not here, with `more` parameters."""
        parameters = {**self.parameters, **more}
        if "fields" in parameters:
            parameters["fields"] = self.projection.key
        return query.canonical_url(path or self.path, parameters)

    def freshness(self, release: str) -> Freshness:
        """Of an answer that was made by a release, whether or not it was asked of that one."""
        return Freshness(PINNED if self.release else KEEP, self.place(release=release))

    def not_modified(self, tag: str, freshness: Freshness = CURRENT) -> web.Response:
        """304: what the client has is still right."""
        headers = {**freshness.headers(), "ETag": tag}
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)

    def kept(self, view: Any, *parts: str, freshness: Freshness = CURRENT) -> web.Response:
        """200 with an entity tag, or 304 when the client has it."""
        tag = self.etag(*parts)
        if self.if_none_match and etags.matches(self.if_none_match, tag):
            return self.not_modified(tag, freshness)
        return self._json(view, HTTPStatus.OK, {**freshness.headers(), "ETag": tag})

    def forgotten(
        self,
        view: Any,
        status: HTTPStatus = HTTPStatus.OK,
        *,
        place: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """An answer that nobody may keep; the one at `place` may be, once it is complete."""
        return self._json(view, status, {**Freshness(FORGET, place).headers(), **(headers or {})})

    def _json(self, view: Any, status: HTTPStatus, headers: dict[str, str]) -> web.Response:
        headers["Content-Type"] = "application/json"
        body = orjson.dumps(self.projection.apply(view))
        is_whole = self.projection is WHOLE
        self.selections.answered(len(body), len(body if is_whole else orjson.dumps(view)))
        return web.Response(status=status, body=body, headers=headers)


class Kind:
    """One kind of answer: its selections, and its part of every entity tag.

    `version` is that of the code that writes answers (`document.representation_version`).
    `selections` are told what is asked and answered.
    """

    def __init__(
        self, name: str, selector: Selector, version: str, selections: SchemaSelections
    ) -> None:
        self._selector = selector
        self._tag = f"{name}/{version}"
        self._selections = selections

    def asked(self, request: web.Request, *known: str) -> Asked:
        """What a request asks for, with the `known` parameters and `fields`.

        Raises InvalidArgument for any other parameter and for unknown fields.
        """
        url = request.rel_url
        parameters = query.parse(url.raw_query_string, *known, "fields")
        projection = self._selector.select(parameters.get("fields"))
        self._selections.asked(projection.paths)
        return Asked(
            url.raw_path,
            parameters,
            projection,
            self._tag,
            ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ())),
            self._selections,
        )
