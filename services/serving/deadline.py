"""The one deadline of a request: it enters at the edge and only ever shrinks."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final

RESERVE: Final = 0.05
"""Share of the remaining time that each hop keeps to say what did not finish (a guess)."""

MIN_RESERVE_S: Final = 0.02
MAX_RESERVE_S: Final = 0.5

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining_s() -> float | None:
    """Seconds until the current request's deadline, at least 0; None when it has none."""
    at = _deadline.get()
    return None if at is None else max(0.0, at - time.monotonic())


def reserve_s(remaining: float) -> float:
    """Seconds of `remaining` that a hop keeps for its own answer."""
    return min(MAX_RESERVE_S, max(MIN_RESERVE_S, remaining * RESERVE))


def for_callees_s(timeout_s: float) -> float:
    """Seconds to give to a call that may take `timeout_s`, within the current deadline."""
    remaining = remaining_s()
    if remaining is None:
        return timeout_s
    return max(0.0, min(timeout_s, remaining - reserve_s(remaining)))


def limit(timeout_s: float) -> AbstractContextManager[None]:
    """Give what runs inside at most `timeout_s` seconds; an earlier deadline stays."""
    at = time.monotonic() + timeout_s
    current = _deadline.get()
    return _Deadline(at if current is None else min(at, current))


def lifted() -> AbstractContextManager[None]:
    """What runs inside has no deadline: it is for more than the current request."""
    return _Deadline(None)


class _Deadline(AbstractContextManager[None]):
    """A class, because a generator's context costs three times as much, in every request."""

    __slots__ = ("_at", "_token")

    def __init__(self, at: float | None) -> None:
        self._at = at

    def __enter__(self) -> None:
        self._token = _deadline.set(self._at)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)
