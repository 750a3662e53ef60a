"""Envoy's own replies at the edge, in the words of the facade's `problems.py`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from services.limits import MAX_PREDICT_BYTES, MAX_UPLOAD_BYTES

PREDICT: Final = "/v1/models/[^/?:]+:predict([?].*)?"
"""Paths whose bodies may be larger than others."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem (RFC 9457) for one status, or for one of Envoy's response flags.

    With a `path`, a regular expression, for requests whose path is like that alone.
    """

    status: HTTPStatus
    code: str
    title: str
    detail: str
    flags: tuple[str, ...] = ()
    path: str = ""
    more: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def members(self) -> dict[str, str | int]:
        """All of it but the trace id, which each reply has its own of."""
        return {
            "type": "urn:visionmesh:problem:" + self.code.lower().replace("_", "-"),
            "title": self.title,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
            **self.more,
        }

    @property
    def json(self) -> str:
        return json.dumps(self.members)


def _of_http(status: HTTPStatus, detail: str) -> Problem:
    return Problem(status, status.name, status.phrase.capitalize(), detail)


def _too_large(most: int, path: str = "") -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "IMAGE_TOO_LARGE",
        "Image too large",
        f"the body has more than {most} bytes",
        path=path,
        more={"field": "body", "limit": f"{most} bytes"},
    )


def _late(*flags: str) -> Problem:
    status = HTTPStatus.GATEWAY_TIMEOUT
    detail = "no answer within the deadline"
    return Problem(status, "DEADLINE_EXCEEDED", "Deadline exceeded", detail, flags)


PROBLEMS: Final = (
    # DT, downstream duration timeout: Envoy says 408, but it is not the client that was slow.
    _late("DT"),
    _of_http(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP or its path is not allowed"),
    Problem(
        HTTPStatus.UNAUTHORIZED,
        "UNAUTHENTICATED",
        "Not authenticated",
        "a valid key is needed",
        # Keys are good as bearer tokens too, and there is no scheme for `X-API-Key`.
        headers={"www-authenticate": 'Bearer realm="visionmesh"'},
    ),
    _of_http(HTTPStatus.NOT_FOUND, "there is nothing at this path"),
    _of_http(HTTPStatus.REQUEST_TIMEOUT, "the request was not received in time"),
    _too_large(MAX_PREDICT_BYTES, PREDICT),
    _too_large(MAX_UPLOAD_BYTES),
    _of_http(
        HTTPStatus.MISDIRECTED_REQUEST,
        "a mesh without keys answers to 127.0.0.1, [::1] and localhost only",
    ),
    _of_http(HTTPStatus.UPGRADE_REQUIRED, "HTTP/1.1 or HTTP/2 is needed"),
    _of_http(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large"),
    Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "RATE_LIMITED",
        "Too many requests",
        "there were more requests than the limit allows, try again later",
    ),
    Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error", "internal error"),
    _of_http(HTTPStatus.BAD_GATEWAY, "the service gave no valid answer"),
    Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "UNAVAILABLE",
        "Unavailable",
        "the service is not available, try again soon",
        headers={"retry-after": "1"},
    ),
    _late(),
)
