"""Where every Python process gets what records its spans: the one place.

Configured by OpenTelemetry's standard variables, of which docs/telemetry.md has a table. Without an
endpoint there is nothing: no SDK is imported, no span is recorded, and traces are handed on only.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from services.serving.diagnostics import Diagnostics
from services.serving.spans import Recorder

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ENDPOINT)
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

GRPC: Final = "grpc"

_log = structlog.get_logger()


def endpoint(environment: Mapping[str, str]) -> str:
    """Where spans go; empty when they go nowhere."""
    if is_off(environment):
        return ""
    return next((found for name in ENDPOINTS if (found := environment.get(name))), "")


def is_off(environment: Mapping[str, str]) -> bool:
    """Whether nobody wants spans, wherever they could go."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return disabled or environment.get("OTEL_TRACES_EXPORTER") == "none"


def protocol(environment: Mapping[str, str]) -> str:
    """What spans go over."""
    return next((found for name in PROTOCOLS if (found := environment.get(name))), GRPC)


@asynccontextmanager
async def recording(
    process: str, instance: str, diagnostics: Diagnostics | None = None
) -> AsyncIterator[Recorder | None]:
    """Record the spans of a process for as long as the context lasts; None without an endpoint.

    `process` is what it is called where `OTEL_SERVICE_NAME` does not say, `instance` tells its
    replicas apart. On leaving, what is recorded is exported, within `otlp.FLUSH_S` seconds. An
    endpoint that does not answer costs spans, and nothing else.
    """
    if not endpoint(os.environ):
        yield None
        return
    if (asked := protocol(os.environ)) != GRPC:
        _log.warning("no traces are exported: OTLP goes over gRPC here", protocol=asked)
        yield None
        return
    # Only here: importing the SDK takes 0.2 s of a start, and 10 MB.
    from services.serving.otlp import OtlpRecorder

    recorder = OtlpRecorder(process, instance, diagnostics or Diagnostics())
    try:
        yield recorder
    finally:
        await recorder.close()
