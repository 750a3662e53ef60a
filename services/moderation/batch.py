"""Many images of one call at once: not too many, and not for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Final, TypeVar

from services.limits import DEFAULT_BATCH_TIMEOUT_S
from services.serving import deadline

CONCURRENCY: Final = 16
"""Images of one call that are looked up at once (a guess)."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


async def each(items: Iterable[K], work: Callable[[K], Awaitable[T]]) -> dict[K, T]:
    """What `work` gives for each item, of those that it finishes before the current deadline.

    What is unfinished then, or when the caller leaves, is cancelled. Raises what `work` raises.
    """
    slots = asyncio.Semaphore(CONCURRENCY)

    async def in_turn(item: K) -> T:
        async with slots:
            return await work(item)

    tasks = {item: asyncio.create_task(in_turn(item)) for item in dict.fromkeys(items)}
    if not tasks:
        return {}
    try:
        timeout_s = deadline.for_callees_s(DEFAULT_BATCH_TIMEOUT_S)
        await asyncio.wait(tasks.values(), timeout=timeout_s)
        return {item: task.result() for item, task in tasks.items() if task.done()}
    finally:
        for task in tasks.values():
            task.cancel()
