"""What happens around every request: its trace, and what becomes of what goes wrong."""

from __future__ import annotations

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from services.errors import VisionmeshError
from services.rest import problems
from services.serving import tracing

_log = structlog.get_logger()


@web.middleware
async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Adopt the trace, run the handler, answer its errors as problems, name the trace."""
    tracing.adopt(request.headers.get(tracing.HEADER))
    try:
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
    headers["X-Content-Type-Options"] = "nosniff"
    headers[hdrs.SERVER] = "visionmesh"  # and not which versions of what it runs on
    return response
