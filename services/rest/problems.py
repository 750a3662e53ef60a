"""What goes wrong, as RFC 9457 problems: the one table from domain errors to HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Final

import orjson
from aiohttp import web

from services import errors
from services.errors import VisionmeshError
from services.serving import tracing

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:visionmesh:problem:"
"""A problem's type names its code; it is a name and no address to look anything up at."""

RETRY_AFTER_S: Final = 1
"""When to try again: processes are restarted within seconds (a guess)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems with one code have in common."""

    status: HTTPStatus
    title: str


KINDS: Final[Mapping[type[VisionmeshError], Kind]] = {
    errors.InvalidArgument: Kind(HTTPStatus.BAD_REQUEST, "Invalid argument"),
    errors.EmptyImage: Kind(HTTPStatus.BAD_REQUEST, "Empty image"),
    errors.UnsupportedFormat: Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported image format"),
    errors.CorruptImage: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Corrupt image"),
    errors.ImageTooLarge: Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Image too large"),
    errors.TooManyPixels: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Too many pixels"),
    errors.UnusablePicture: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Unusable picture"),
    errors.DigestMismatch: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Digest mismatch"),
    errors.Unauthenticated: Kind(HTTPStatus.UNAUTHORIZED, "Not authenticated"),
    errors.NotFound: Kind(HTTPStatus.NOT_FOUND, "Not found"),
    errors.ImageNotFound: Kind(HTTPStatus.NOT_FOUND, "Image not found"),
    errors.ModelNotFound: Kind(HTTPStatus.NOT_FOUND, "Model not found"),
    errors.PolicyNotFound: Kind(HTTPStatus.NOT_FOUND, "Policy not found"),
    errors.BrandNotFound: Kind(HTTPStatus.NOT_FOUND, "Brand not found"),
    errors.ReleaseNotFound: Kind(HTTPStatus.NOT_FOUND, "Release not found"),
    errors.ResultNotFound: Kind(HTTPStatus.NOT_FOUND, "Result not found"),
    errors.BrandExists: Kind(HTTPStatus.CONFLICT, "Brand exists"),
    errors.TooManyBrands: Kind(HTTPStatus.CONFLICT, "Too many brands"),
    errors.Unavailable: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Unavailable"),
    errors.ModelUnavailable: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Model unavailable"),
    errors.StoreUnavailable: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Store unavailable"),
    errors.AuditUnavailable: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Audit unavailable"),
    errors.Overloaded: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Overloaded"),
    errors.DeadlineExceeded: Kind(HTTPStatus.GATEWAY_TIMEOUT, "Deadline exceeded"),
    errors.Cancelled: Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Cancelled"),
    errors.InvalidPolicy: Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Invalid policy"),
    errors.ModelFileError: Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Model file error"),
    errors.Internal: Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
    errors.VisionmeshError: Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
}
"""HTTP status and title of each error; one without a row has its nearest ancestor's."""

CHALLENGE: Final = 'Bearer realm="visionmesh"'
"""How a client that has shown no key may show one (RFC 6750); `X-API-Key` has no scheme."""

_FIELDS: Final[Mapping[str, str]] = {
    "data": "body",
    "picture": "body",
    "images.data": "body",
    "digest": "id",
    "page_token": "cursor",
}
"""What the caller wrote where the gRPC contract has another name for it."""


class HttpError(Exception):
    """Something that is wrong with a request as HTTP, which the domain has no word for."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        field: str = "",
        limit: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.limit = limit
        self.headers = headers or {}


def kind_of(error: VisionmeshError) -> Kind:
    """The row of an error."""
    return next(KINDS[kind] for kind in type(error).__mro__ if kind in KINDS)


def from_error(error: VisionmeshError) -> web.Response:
    """The answer to a request that failed with a domain error."""
    kind = kind_of(error)
    headers = {}
    if kind.status is HTTPStatus.SERVICE_UNAVAILABLE:
        wait_s = error.retry_after_s if isinstance(error, errors.Overloaded) else RETRY_AFTER_S
        headers["Retry-After"] = str(ceil(wait_s))
    if kind.status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    field, detail = error.field, error.message
    if here := _FIELDS.get(field):
        field, detail = here, detail.replace(f"{field}: ", f"{here}: ", 1)
    return _problem(kind.status, kind.title, error.code, detail, field, error.limit, headers)


def from_http_error(error: HttpError) -> web.Response:
    """The answer to a request that is wrong as HTTP."""
    title = error.status.phrase.capitalize()
    return _problem(
        error.status, title, error.code, error.detail, error.field, error.limit, error.headers
    )


def from_aiohttp(error: web.HTTPException, path: str) -> web.Response:
    """The answer to a request that aiohttp itself refused: no such path, no such method, …"""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return from_http_error(
            HttpError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                f"{error.method} is not allowed here; allowed are: {allowed}",
                headers={"Allow": allowed},
            )
        )
    status = HTTPStatus(error.status)
    details = {HTTPStatus.NOT_FOUND: f"there is nothing at {path[:200]}"}
    code = status.name if status is not HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "IMAGE_TOO_LARGE"
    return from_http_error(HttpError(status, code, details.get(status, status.description)))


def internal() -> web.Response:
    """The answer to a request that met a fault of ours; what it was stays in the log."""
    return from_error(errors.Internal("internal error"))


def _problem(
    status: HTTPStatus,
    title: str,
    code: str,
    detail: str,
    field: str,
    limit: str,
    headers: Mapping[str, str],
) -> web.Response:
    problem: dict[str, object] = {
        "type": TYPE_PREFIX + code.lower().replace("_", "-"),
        "title": title,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    if field:
        problem["field"] = field
    if limit:
        problem["limit"] = limit
    problem["traceId"] = tracing.trace_id()
    return web.Response(
        status=status.value,
        body=orjson.dumps(problem),
        headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **headers},
    )
