"""W3C trace context."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeVar

import pytest

from services.serving import tracing

T = TypeVar("T")

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def in_request(traceparent: str | None, read: Callable[[], T], state: str | None = None) -> T:
    def run() -> T:
        tracing.adopt(traceparent, state)
        return read()

    return contextvars.copy_context().run(run)


def test_joins_the_callers_trace():
    """A valid header is continued under its id."""
    assert in_request(PARENT, tracing.trace_id) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert in_request(PARENT, tracing.traceparent).split("-")[1] == PARENT.split("-")[1]


@pytest.mark.parametrize(
    "header", [None, "", "garbage", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", PARENT[:-4]]
)
def test_starts_one_without_a_valid_header(header: str | None):
    """Without a valid header a new trace starts, another one each time."""
    first, second = (in_request(header, tracing.trace_id) for _ in range(2))
    assert first != second
    assert len(first) == 32
    assert set(first) != {"0"}


def test_passes_the_callers_flags_on():
    """What the caller decided about sampling is what callees are told."""
    unsampled = PARENT[:-2] + "00"
    assert in_request(unsampled, tracing.traceparent) == unsampled
    assert in_request(PARENT, tracing.traceparent) == PARENT


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        ("00" + PARENT[2:] + "-more", False),
        ("01" + PARENT[2:] + "-more", True),
        ("01" + PARENT[2:] + "more", False),
        ("ff" + PARENT[2:], False),
        (PARENT.replace("00f067aa0ba902b7", "0" * 16), False),
        (PARENT.upper(), False),
        (PARENT + "\n", False),
    ],
)
def test_what_is_valid(header: str, valid: bool):
    """As the specification says: later versions may say more, nobody may say nothing."""
    joined = in_request(header, tracing.trace_id) == PARENT.split("-")[1]
    assert joined is valid


def test_requests_do_not_inherit():
    """A request without a header never joins the trace of the context that it started in."""
    inner = in_request(PARENT, lambda: in_request(None, tracing.trace_id))
    assert inner != PARENT.split("-")[1]


def test_outside_a_request():
    """Outside a request there is no trace to continue."""
    nowhere = contextvars.Context()
    assert not nowhere.run(tracing.active)
    assert nowhere.run(tracing.traceparent) == ""


@pytest.mark.parametrize(
    ("traceparent", "state", "goes_on"),
    [
        (PARENT, "a=1,b=2", "a=1,b=2"),
        (PARENT, "", None),
        (PARENT, None, None),
        (PARENT, "garbage", None),
        ("garbage", "a=1", None),
    ],
)
def test_the_state_goes_along(traceparent: str, state: str | None, goes_on: str | None):
    """What systems on the way said of a trace goes on with it, and with no other trace."""
    headers = dict(in_request(traceparent, tracing.headers, state))
    assert headers.pop("traceparent")
    assert headers == ({} if goes_on is None else {"tracestate": goes_on})


def test_work_for_nobody_is_not_recorded():
    """What is asked for outside of a request is a trace of its own, that nobody records."""
    ((name, first),), ((_, second),) = tracing.untraced(), tracing.untraced()
    assert name == "traceparent"
    assert first != second
    assert in_request(first, tracing.trace_id) == first.split("-")[1]
    assert first.endswith("-00")
