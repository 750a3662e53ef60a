"""The trace that the current request belongs to, as W3C trace context, and its spans.

https://www.w3.org/TR/trace-context/, kept in OpenTelemetry's context. Spans cost next to nothing
where the request is not recorded: see telemetry.py for what decides that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)

from services.serving.spans import (
    NOT_RECORDED,
    Attributes,
    Phases,
    RecordedPhases,
    RecordedSpan,
    Recorder,
    new_span_id,
    new_trace_id,
)

HEADER: Final = "traceparent"
STATE_HEADER: Final = "tracestate"

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


def adopt(traceparent: str | None, tracestate: str | None = None) -> None:
    """Join the caller's trace; a missing or malformed header starts a new one.

    Plain code: OpenTelemetry's propagator takes three times as long.
    """
    _attach(NonRecordingSpan(_context_of(traceparent, tracestate) or _new_context()))


def enter(
    recorder: Recorder | None,
    name: str,
    traceparent: str | None,
    tracestate: str | None,
    attributes: Attributes,
) -> trace.Span:
    """Join the caller's trace with a span of the server's kind, which whoever enters ends.

    Without a recorder, or where it does not record this request, the span does nothing.
    """
    parent = _context_of(traceparent, tracestate)
    if recorder is None:
        span: trace.Span = NonRecordingSpan(parent or _new_context())
    else:
        span = recorder.begin(name, parent, SpanKind.SERVER, attributes)
    _attach(span)
    return span


def active() -> bool:
    """Whether a request's trace has been adopted here."""
    return trace.get_current_span().get_span_context().is_valid


def trace_id() -> str:
    """The current trace's id, 32 lower-case hexadecimal digits; zeros outside a request."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def traceparent() -> str:
    """The header that continues the current trace in another process; empty outside a request."""
    return dict(headers()).get(HEADER, "")


def headers(span: trace.Span | None = None) -> tuple[tuple[str, str], ...]:
    """The headers that continue a span in another process, the current one if none is given; none
    outside a request."""
    context = (span or trace.get_current_span()).get_span_context()
    if not context.is_valid:
        return ()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if state := context.trace_state:
        return ((HEADER, parent), (STATE_HEADER, state.to_header()))
    return ((HEADER, parent),)


def untraced() -> tuple[tuple[str, str], ...]:
    """The headers of work for no request, which is not to be recorded anywhere."""
    return ((HEADER, f"00-{new_trace_id():032x}-{new_span_id():016x}-00"),)


def start(
    name: str, attributes: Attributes | None = None, kind: SpanKind = SpanKind.INTERNAL
) -> RecordedSpan | None:
    """Begin a span below the current one, which does not become current; None when the request is
    not recorded. Whoever begins it ends it, by `within` or by `end`."""
    parent = trace.get_current_span()
    if isinstance(parent, RecordedSpan):
        return parent.child(name, kind, attributes)
    return None


def event(name: str, attributes: Attributes | None = None) -> None:
    """Note that something happened during the current span."""
    span = trace.get_current_span()
    if isinstance(span, RecordedSpan):
        span.add_event(name, attributes)


def describe(attributes: Attributes) -> None:
    """Say more of the current span."""
    span = trace.get_current_span()
    if isinstance(span, RecordedSpan):
        span.set_attributes(attributes)


def join(name: str, other: trace.Span | None) -> None:
    """Note that the current span waits for what is under way already, and where that is seen."""
    span = trace.get_current_span()
    if isinstance(span, RecordedSpan):
        span.add_event(f"{name}.joined")
        if other is not None:
            span.add_link(other.get_span_context())


def current() -> RecordedSpan | None:
    """The current span, for work that will be done for several at once; None when not recorded."""
    span = trace.get_current_span()
    return span if isinstance(span, RecordedSpan) else None


def together(
    name: str, members: Iterable[RecordedSpan | None], attributes: Attributes | None = None
) -> AbstractContextManager[object]:
    """What runs inside is done for all of these spans at once: a span below the first that is
    recorded, with links to all of them, which link to it. Nothing is recorded for nobody."""
    recorded = [member for member in members if member is not None]
    if not recorded:
        return _Unrecorded()
    links = [Link(member.context) for member in recorded]
    span = recorded[0].child(name, attributes=attributes, links=links)
    for member in recorded:
        member.add_link(span.context)
    return within(span)


def phases(first: str) -> Phases:
    """The phases of a call, of which the first begins now."""
    span = trace.get_current_span()
    return RecordedPhases(span, first) if isinstance(span, RecordedSpan) else NOT_RECORDED


class span(AbstractContextManager[trace.Span]):
    """What runs inside is a span below the current one; what it raises is its failure.

    A class, because a generator's context costs three times as much, in every request.
    """

    __slots__ = ("_attributes", "_inside", "_kind", "_name")

    def __init__(
        self,
        name: str,
        attributes: Attributes | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._inside: within | None = None

    def __enter__(self) -> trace.Span:
        parent = trace.get_current_span()
        if not isinstance(parent, RecordedSpan):
            return parent
        self._inside = within(parent.child(self._name, self._kind, self._attributes))
        return self._inside.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._inside is not None:
            self._inside.__exit__(kind, error, traceback)


class within(AbstractContextManager[RecordedSpan]):
    """What runs inside runs in this span, which ends with it; what it raises is its failure."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: RecordedSpan) -> None:
        self._span = span

    def __enter__(self) -> RecordedSpan:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        otel_context.detach(self._token)
        if error is not None:
            self._span.fail(error)
        self._span.end()


class _Unrecorded(AbstractContextManager[None]):
    """What runs inside is part of no trace, whoever had it begun."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = otel_context.attach(otel_context.Context())

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)


def _attach(span: trace.Span) -> None:
    otel_context.attach(trace.set_span_in_context(span, otel_context.Context()))


def _context_of(traceparent: str | None, tracestate: str | None) -> SpanContext | None:
    """What the headers say; None when they are malformed. Only versions after 00 may carry more."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
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
        trace_state=TraceState.from_header([tracestate]) if tracestate else None,
    )


def _new_context() -> SpanContext:
    return SpanContext(
        trace_id=new_trace_id(),
        span_id=new_span_id(),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
