"""What happens around every request: its trace, tenant and times, and what becomes of what goes
wrong."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from services.errors import VisionmeshError
from services.rest import problems
from services.serving import http_spans, tenancy, timing, tracing
from services.serving.http_metrics import LEFT, HttpMetrics
from services.serving.logs import answered
from services.serving.spans import Recorder

OWNED: Final = "/v1/"
"""Below this everything is somebody's; the rest is about the facade itself, and for nobody."""

_log = structlog.get_logger()


def around(
    trust: tenancy.Trust, metrics: HttpMetrics, recorder: Recorder | None = None
) -> Middleware:
    """Adopt trace and tenant, run the handler, answer its errors as problems, name the trace, and
    tell `metrics` how it went."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = time.perf_counter(), LEFT
        try:
            response = await traced(request, handler)
            status = response.status
        finally:
            metrics.ended(request, status, time.perf_counter() - began)
        return response

    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        span = http_spans.enter(recorder, request)
        if span is None:
            return await answer(request, handler)
        with http_spans.leaving(span) as left:
            response = await answer(request, handler)
            left.status = response.status
        return response

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        timings = timing.collect()
        try:
            _adopt_tenant(request, trust)
            response = await handler(request)
        except VisionmeshError as error:
            response = problems.from_error(error)
        except problems.HttpError as error:
            response = problems.from_http_error(error)
        except web.HTTPException as error:
            response = problems.from_aiohttp(error, request.path)
        except Exception:
            _log.exception("unexpected error", method=request.method, path=request.path)
            response = problems.internal()
        headers = response.headers
        headers["x-trace-id"] = tracing.trace_id()
        if response.status == HTTPStatus.NOT_MODIFIED:
            timings.note("cache", timing.REVALIDATED)
        headers[timing.HEADER] = timings.total()
        if made_for := request.headers.get(timing.REQUEST_ID):
            headers[timing.MADE_FOR] = made_for
        headers["X-Content-Type-Options"] = "nosniff"
        headers[hdrs.SERVER] = "visionmesh"  # and not which versions of what it runs on
        answered(method=request.method, path=request.path, status=response.status)
        return response

    return middleware


def _adopt_tenant(request: web.Request, trust: tenancy.Trust) -> None:
    """Act for whom Envoy says that the request is. Raises Unauthenticated.

    Always, because the requests of one connection share a context: nobody is left of the last one.
    """
    tenancy.act_for("")
    if not request.path.startswith(OWNED):
        return
    headers = request.headers
    trust.adopt(headers.get(tenancy.TOKEN_HEADER), headers.get(tenancy.TENANT_HEADER))
    tenancy.tenant()
