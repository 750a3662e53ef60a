"""A version of a model that this replica does not serve may be served by another one.

While a rolling update runs, two versions of a model are behind one name. Envoy sends a call that
was answered with `HEADER` to another replica, a few times, and says which attempt this is. Without
Envoy there is no other replica to try.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

HEADER: Final = "x-visionmesh-elsewhere"
"""Initial metadata of an answer that another replica may answer better."""

ATTEMPT_HEADER: Final = "x-envoy-attempt-count"
"""Request metadata: 1 for the first attempt (`include_request_attempt_count`)."""

MAX_ATTEMPTS: Final = 3
"""The last one answers whatever it has."""

_attempt: ContextVar[int] = ContextVar("attempt", default=MAX_ATTEMPTS)


class Elsewhere(Exception):
    """The whole call should be tried on another replica."""


def adopt(attempt: str | None) -> None:
    """Note which attempt the current call is; without Envoy's word it is the last."""
    known = attempt is not None and attempt.isascii() and attempt.isdigit()
    _attempt.set(int(attempt) if attempt and known else MAX_ATTEMPTS)


def possible() -> bool:
    """Whether the current call may still be tried on another replica."""
    return _attempt.get() < MAX_ATTEMPTS
