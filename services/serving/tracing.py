"""The trace that the current request belongs to, as W3C trace context.

https://www.w3.org/TR/trace-context/, kept in OpenTelemetry's context: an SDK's spans join it.
"""

from __future__ import annotations

import random
import re
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

HEADER: Final = "traceparent"

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


def adopt(traceparent: str | None) -> None:
    """Join the caller's trace; a missing or malformed header starts a new one.

    Plain code: OpenTelemetry's propagator, which also looks for a `tracestate`, takes three times
    as long.
    """
    span = NonRecordingSpan(_context_of(traceparent or "") or _new_context())
    otel_context.attach(trace.set_span_in_context(span, otel_context.Context()))


def active() -> bool:
    """Whether a request's trace has been adopted here."""
    return trace.get_current_span().get_span_context().is_valid


def trace_id() -> str:
    """The current trace's id, 32 lower-case hexadecimal digits; zeros outside a request."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def traceparent() -> str:
    """The header that continues the current trace in another process; empty outside a request."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _context_of(traceparent: str) -> SpanContext | None:
    """What a header says; None when it is malformed. Only versions after 00 may carry more."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if more and version == "00":
        return None
    return SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
    )


def _new_context() -> SpanContext:
    return SpanContext(
        trace_id=random.getrandbits(128) or 1,
        span_id=random.getrandbits(64) or 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
