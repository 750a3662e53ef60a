"""What spans of gRPC calls say, by OpenTelemetry's semantic conventions.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/, written out here: the instrumentation package
costs more than everything else around a call.
"""

from __future__ import annotations

from typing import Final

import grpc

from services.serving.spans import Attributes, RecordedSpan

_SERVER_ERRORS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The other codes are the client's fault, and no failure of the server's."""


def of_call(path: str) -> tuple[str, Attributes]:
    """Name and attributes of a gRPC call's span, by the method's path."""
    method = path.removeprefix("/")
    return method, {"rpc.system.name": "grpc", "rpc.method": method}


def answered(span: RecordedSpan, code: grpc.StatusCode, *, client: bool = False) -> None:
    """Say how a call ended."""
    span.set_attribute("rpc.response.status_code", code.name)
    if code in _SERVER_ERRORS or (client and code is not grpc.StatusCode.OK):
        span.fail(code.name)
