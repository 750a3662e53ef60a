"""Single flight: what several ask for at once is made once.

A flight belongs to nobody. It goes on while anybody waits for it, so that its deadline is that of
its longest waiter, and is cancelled when the last one leaves. What it ends with, a failure too, is
for those who wait at that moment: nothing is remembered here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from services.serving import tracing
from services.serving.spans import RecordedSpan

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Flight(Generic[V]):
    __slots__ = ("span", "task", "waiters")

    def __init__(self, task: asyncio.Task[V], span: RecordedSpan | None) -> None:
        self.task = task
        self.span = span
        self.waiters = 0


class Flights(Generic[K, V]):
    """What is being made at the moment, by name. Owns the tasks that make it."""

    def __init__(self, joined: Callable[[], None] = lambda: None, *, name: str = "flight") -> None:
        """`joined` is called for everybody who finds what they ask for already on its way; `name`
        is that of a flight's span, in the trace of who came first."""
        self._name = name
        self._joined = joined
        self._flights: dict[K, _Flight[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()

    def __contains__(self, key: K) -> bool:
        """Whether it is being made."""
        return key in self._flights

    def __len__(self) -> int:
        """How many things are being made."""
        return len(self._flights)

    async def join(self, key: K, make: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """What `make` gives, or what somebody else's gives who came before. Raises what it does."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._begin(key, make)
        else:
            self._joined()
            tracing.join(self._name, flight.span)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                # Whoever asks from now on begins anew: this one is as good as gone.
                self._land(key, flight)
                flight.task.cancel()

    async def close(self) -> None:
        """Cancel what is being made, and wait until it has ended."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _begin(self, key: K, make: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        span = tracing.start(self._name)
        flight = _Flight(asyncio.create_task(_within(span, make) if span else make()), span)
        self._tasks.add(flight.task)

        def ended(task: asyncio.Task[V]) -> None:
            self._tasks.discard(task)
            self._land(key, flight)
            if not task.cancelled():
                task.exception()  # seen, also when everybody has left

        flight.task.add_done_callback(ended)
        return flight

    def _land(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


async def _within(span: RecordedSpan, make: Callable[[], Coroutine[Any, Any, V]]) -> V:
    with tracing.within(span):
        return await make()
