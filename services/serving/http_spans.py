"""What spans of HTTP requests say, by OpenTelemetry's semantic conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/. Query strings are left out: they may
hold what is nobody's business.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from http import HTTPStatus
from types import TracebackType
from typing import Final

from aiohttp import hdrs, web

from services.serving import tracing
from services.serving.spans import RecordedSpan, Recorder

WATCHING: Final = frozenset({"/healthz", "/readyz"})
"""Asked every second, for no request of anybody's."""


def enter(recorder: Recorder | None, request: web.Request) -> RecordedSpan | None:
    """Join the trace that an HTTP request belongs to, with a span that `leaving` ends; None when
    it is not recorded."""
    headers = request.headers
    traceparent, state = headers.get(tracing.HEADER), headers.get(tracing.STATE_HEADER)
    if recorder is None or request.path in WATCHING:
        tracing.adopt(traceparent, state)
        return None
    resource = request.match_info.route.resource
    route = resource.canonical if resource else ""
    return enter_part(recorder, request, route, traceparent, state)


def enter_part(
    recorder: Recorder, request: web.Request, route: str, traceparent: str | None, state: str | None
) -> RecordedSpan | None:
    """`enter` for one of several requests that came in one, each with its own trace's context."""
    method = request.method if request.method in hdrs.METH_ALL else "_OTHER"
    attributes = {
        "http.request.method": method,
        "url.path": request.path,
        "url.scheme": request.scheme,
    }
    if route:
        attributes["http.route"] = route
    name = f"{method} {route}".rstrip()
    span = tracing.enter(recorder, name, traceparent, state, attributes)
    return span if isinstance(span, RecordedSpan) else None


class leaving(AbstractContextManager["leaving"]):
    """What runs inside answers a request, and says with which `status`."""

    def __init__(self, span: RecordedSpan) -> None:
        self._span = span
        self.status = 0

    def __enter__(self) -> leaving:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.status:
            self._span.set_attribute("http.response.status_code", self.status)
        if error is not None:
            self._span.fail(error)
        elif self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._span.fail(str(self.status))
        self._span.end()
