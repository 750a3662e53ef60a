"""Who is next: callers in turn, each of them in the order in which it asked.

A call for a hundred images and a call for one are one caller each: the one waits for nobody's
hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, TypeVar

from services.errors import Cancelled, Overloaded
from services.serving import tracing
from services.serving.spans import RecordedSpan

MAX_WAITING: Final = 256
"""Pictures that wait for a model: some seconds of work, beyond which more would only come too late
(a guess)."""

MAX_RETRY_AFTER_S: Final = 30.0

T = TypeVar("T", bound=Hashable)

_caller: ContextVar[object] = ContextVar("caller", default=None)


def new_caller() -> None:
    """What the current task asks for from here on, and what it starts does, is one caller's."""
    _caller.set(object())


@dataclass(slots=True)
class _Place:
    """Whose turn it is that something waits for, since when, and the span of its waiting."""

    caller: object
    since: float
    span: RecordedSpan | None


class Turns(Generic[T]):
    """What waits. Each thing once; belongs to one event loop.

    Waiting is a span, `turn`, of the request that puts something there.
    """

    def __init__(
        self,
        max_waiting: int = MAX_WAITING,
        retry_after_s: Callable[[], float] = lambda: 1.0,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`retry_after_s` is asked when somebody is refused: when it is worth asking again.
        `waited` is told of each turn that came how long it was waited for."""
        self._max_waiting = max_waiting
        self._retry_after_s = retry_after_s
        self._waited = waited
        # Both are in order: callers as they are next, and what each waits for.
        self._lines: dict[object, dict[T, None]] = {}
        self._places: dict[T, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, thing: T) -> None:
        """Let it wait, for the current caller. Raises Overloaded when too much waits already."""
        if len(self) >= self._max_waiting:
            wait_s = min(max(self._retry_after_s(), 1.0), MAX_RETRY_AFTER_S)
            raise Overloaded(
                "too many images wait for the model, try again soon", retry_after_s=wait_s
            )
        caller = _caller.get()
        self._places[thing] = _Place(caller, monotonic(), tracing.start("turn"))
        self._lines.setdefault(caller, {})[thing] = None

    def take(self) -> T:
        """The next, of the caller who has waited longest for a turn. There must be one."""
        caller = next(iter(self._lines))
        line = self._lines.pop(caller)
        thing = next(iter(line))
        del line[thing]
        if line:
            self._lines[caller] = line  # behind all others
        place = self._places.pop(thing)
        self._waited(monotonic() - place.since)
        if place.span:
            place.span.end()
        return thing

    def discard(self, thing: T) -> None:
        """Let it wait no longer, if it does."""
        place = self._places.pop(thing, None)
        if place is None:
            return
        line = self._lines[place.caller]
        del line[thing]
        if not line:
            del self._lines[place.caller]
        if place.span:
            place.span.fail(Cancelled.code)
            place.span.end()


class Slots:
    """So many at a time, and the others in turn: an `async with` that raises Overloaded."""

    def __init__(
        self,
        count: int,
        max_waiting: int = MAX_WAITING,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`waited` is told how long those waited who had to."""
        self._free = count
        self._waiting: Turns[asyncio.Future[None]] = Turns(max_waiting, waited=waited)

    @property
    def waiting(self) -> int:
        """Who waits for a slot."""
        return len(self._waiting)

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.discard(turn)
            if not turn.cancelled():
                self._next()  # it was given a slot at the same moment
            raise

    async def __aexit__(self, *_: object) -> None:
        self._next()

    def _next(self) -> None:
        while len(self._waiting):
            turn = self._waiting.take()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
