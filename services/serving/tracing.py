"""The trace that the current request belongs to, as W3C trace context.

https://www.w3.org/TR/trace-context/, kept in OpenTelemetry's context: an SDK's spans join it.
"""

from __future__ import annotations

import random
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER: Final = "traceparent"

_PROPAGATOR = TraceContextTextMapPropagator()


def adopt(traceparent: str | None) -> None:
    """Join the caller's trace; a missing or malformed header starts a new one."""
    carrier = {HEADER: traceparent} if traceparent else {}
    context = _PROPAGATOR.extract(carrier, context=otel_context.Context())
    if not trace.get_current_span(context).get_span_context().is_valid:
        context = trace.set_span_in_context(NonRecordingSpan(_new_context()), context)
    otel_context.attach(context)


def active() -> bool:
    """Whether a request's trace has been adopted here."""
    return trace.get_current_span().get_span_context().is_valid


def trace_id() -> str:
    """The current trace's id, 32 lower-case hexadecimal digits; zeros outside a request."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def traceparent() -> str:
    """The header that continues the current trace in another process; empty outside a request."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(HEADER, "")


def _new_context() -> SpanContext:
    return SpanContext(
        trace_id=random.getrandbits(128) or 1,
        span_id=random.getrandbits(64) or 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
