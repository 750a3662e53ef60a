"""Requests that are recorded, as tests make them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.serving import tracing
from services.serving.spans import Recorder

T = TypeVar("T")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


async def in_request(
    recorder: Recorder | None,
    work: Callable[[], Awaitable[T]],
    parent: str | None = PARENT,
    state: str | None = None,
) -> T:
    """What `work` gives, in a request of its own that is recorded as `request`."""

    async def run() -> T:
        span = tracing.enter(recorder, "request", parent, state, {})
        try:
            return await work()
        finally:
            span.end()

    return await asyncio.create_task(run(), context=contextvars.Context())
