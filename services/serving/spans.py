"""Spans that are recorded, made cheaply.

A span of OpenTelemetry's SDK costs 50 µs on the event loop, with its locks and its copies of every
attribute; one of these costs 10. What is exported is the same, and so is the interface: whatever
else makes spans sees them as its parents.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from services.errors import Cancelled, VisionmeshError

ERROR_TYPE: Final = "error.type"

Attributes = Mapping[str, AttributeValue]


class Recorder(Protocol):
    """What decides which requests are recorded, and takes the spans that have ended."""

    def begin(
        self, name: str, parent: SpanContext | None, kind: SpanKind, attributes: Attributes
    ) -> trace.Span:
        """A request's first span in this process; one that does not record when it is not
        sampled."""
        ...

    def take(self, span: RecordedSpan, end_ns: int) -> None:
        """Export a span that has ended, soon. Never raises, never waits."""
        ...


class RecordedSpan(trace.Span):
    """A span that is recorded. Times are nanoseconds since 1970. Belongs to one thread."""

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
        start_ns: int = 0,
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.attributes: dict[str, AttributeValue] = dict(attributes or {})
        self.links = list(links)
        self.events: list[tuple[str, Attributes, int]] = []
        self.status = Status()
        self.start_ns = start_ns or time.time_ns()
        self._recorder = recorder
        self._ended = False

    def child(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
        start_ns: int = 0,
    ) -> RecordedSpan:
        """A span of something that happens within this one, or because of it."""
        mine = self.context
        context = SpanContext(
            mine.trace_id, new_span_id(), False, mine.trace_flags, mine.trace_state
        )
        return RecordedSpan(self._recorder, name, context, mine, kind, attributes, links, start_ns)

    def fail(self, error: BaseException | str) -> None:
        """Mark it as failed, by a domain error's code or the error's class: messages may quote what
        a client sent."""
        kind = error if isinstance(error, str) else error_type(error)
        self.attributes[ERROR_TYPE] = kind
        self.status = Status(StatusCode.ERROR)

    def end(self, end_time: int | None = None) -> None:
        if not self._ended:
            self._ended = True
            self._recorder.take(self, end_time or time.time_ns())

    def get_span_context(self) -> SpanContext:
        return self.context

    def set_attributes(self, attributes: Attributes) -> None:
        self.attributes.update(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.attributes[key] = value

    def add_event(
        self,
        name: str,
        attributes: Attributes | None = None,
        timestamp: int | None = None,
    ) -> None:
        self.events.append((name, attributes or {}, timestamp or time.time_ns()))

    def add_link(self, context: SpanContext, attributes: Attributes | None = None) -> None:
        self.links.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        self.name = name

    def is_recording(self) -> bool:
        return not self._ended

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = {"exception.type": error_type(exception)}
        self.add_event("exception", kind | dict(attributes or {}), timestamp)


class Phases(AbstractContextManager["Phases"]):
    """Things that happen one after the other within a call, each of which is a span.

    They are noted where they happen, in whatever thread, and become spans when all is over. This
    one notes nothing: for calls that are not recorded.
    """

    def begin(self, name: str, attributes: Attributes | None = None) -> None:
        """The next thing begins, and with it ends the one before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The last thing has ended; with an error it is what failed."""


NOT_RECORDED: Final = Phases()


class RecordedPhases(Phases):
    def __init__(self, parent: RecordedSpan, first: str) -> None:
        self._parent = parent
        self._noted: list[tuple[str, Attributes | None, int]] = [(first, None, time.time_ns())]

    def begin(self, name: str, attributes: Attributes | None = None) -> None:
        self._noted.append((name, attributes, time.time_ns()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end_ns = time.time_ns()
        noted = list(self._noted)  # who was left behind may still be noting
        for place, (name, attributes, start_ns) in enumerate(noted):
            span = self._parent.child(name, attributes=attributes, start_ns=start_ns)
            is_last = place + 1 == len(noted)
            if error is not None and is_last:
                span.fail(error)
            span.end(end_ns if is_last else noted[place + 1][2])


def error_type(error: BaseException) -> str:
    """What an error is called: a domain error's code, or its class."""
    if isinstance(error, VisionmeshError):
        return error.code
    if isinstance(error, asyncio.CancelledError):
        return Cancelled.code
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def new_trace_id() -> int:
    return random.getrandbits(128) or 1


def new_span_id() -> int:
    return random.getrandbits(64) or 1
