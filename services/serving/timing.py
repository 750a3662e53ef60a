"""How long each model took for the current request, and whether it had to be asked at all.

Written as `Server-Timing` (https://www.w3.org/TR/server-timing/), for people who look at a request
in their browser. Processes tell each other in the same form, in the trailing metadata of a call:
who asks knows how long it took, and who is asked knows why.
"""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Final

from services.catalog import BY_NAME

HEADER: Final = "server-timing"

MADE_FOR: Final = "x-visionmesh-made-for"
"""Which request an answer's times are of. Envoy keeps headers with bodies: what comes out of its
cache says another one, or none, and its times are not shown (envoy/edge.lua)."""

REQUEST_ID: Final = "x-request-id"
"""Envoy's name of a request; never what a client says."""

STORED: Final = "stored"
"""A result that was there already."""

JOINED: Final = "joined"
"""One that was being made for somebody else."""

MADE: Final = "made"
"""One that was made for this request."""

FAILED: Final = "failed"

REVALIDATED: Final = "revalidated"
"""A whole answer that is still good."""

_RANK: Final = {"": 0, STORED: 1, REVALIDATED: 1, JOINED: 2, MADE: 3, FAILED: 4}
"""Of several calls, that is said which explains most."""

_ENTRY: Final = re.compile(r"([a-z][a-z0-9-]*)(?:;dur=([0-9.]{1,12}))?(?:;desc=([a-z]+))?")


class Timings:
    """What is known so far of one request."""

    __slots__ = ("_began", "_entries")

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._entries: dict[str, tuple[float | None, str]] = {}

    def note(self, name: str, how: str = "", took_ms: float | None = None) -> None:
        """Of several that have one name, the longest time is kept and the strongest reason."""
        took, said = self._entries.get(name, (None, ""))
        if took_ms is not None:
            took = took_ms if took is None else max(took, took_ms)
        if _RANK.get(how, 0) > _RANK[said]:
            said = how
        self._entries[name] = took, said

    def hear(self, text: str) -> None:
        """What another process says; what is not in its form is passed over."""
        for part in text.split(", "):
            if found := _ENTRY.fullmatch(part):
                name, took_ms, how = found.groups()
                self.note(name, how or "", float(took_ms) if took_ms else None)

    def told(self) -> str:
        """All of it, as a header; empty when there is nothing."""
        return ", ".join(_written(name, *entry) for name, entry in self._entries.items())

    def total(self) -> str:
        """All of it, and how long it took altogether."""
        total = _written("total", 1000 * (time.perf_counter() - self._began), "")
        return f"{told}, {total}" if (told := self.told()) else total


_current: ContextVar[Timings | None] = ContextVar("timings", default=None)


def collect() -> Timings:
    """What is done for this request from now on, also in tasks that are begun, is noted here."""
    timings = Timings()
    _current.set(timings)
    return timings


def current() -> Timings | None:
    return _current.get()


def note(model: str, how: str) -> None:
    """Say where a model's result comes from; what only a part of one is called is passed over."""
    timings = _current.get()
    if timings is not None and model in BY_NAME:
        timings.note(model, how)


class asking(AbstractContextManager[None]):
    """What runs inside waits for a process's answer."""

    __slots__ = ("_began", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        timings = _current.get()
        if timings is not None:
            took_ms = 1000 * (time.perf_counter() - self._began)
            timings.note(self._name, FAILED if error is not None else "", took_ms)


def _written(name: str, took_ms: float | None, how: str) -> str:
    said = name
    if took_ms is not None:
        said += f";dur={took_ms:.1f}"
    return f"{said};desc={how}" if how else said
