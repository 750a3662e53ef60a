"""How long the work on one request may take.

Envoy's route timeout does not apply to a request that its cache sends on, so the facade itself
answers in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import Final

from aiohttp import web

from services.errors import DeadlineExceeded, InvalidArgument
from services.limits import DEFAULT_TIMEOUT_S
from services.serving import deadline

HEADER: Final = "x-request-timeout-ms"
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}")


def timeout_s(request: web.Request, most_s: float = DEFAULT_TIMEOUT_S) -> float:
    """The seconds that a request's work may take, `most_s` if it does not say.

    Raises InvalidArgument.
    """
    asked = request.headers.getall(HEADER, None)
    if asked is None:
        return most_s
    most_ms = int(most_s * 1000)
    if len(asked) == 1 and _MILLISECONDS.fullmatch(asked[0]):
        milliseconds = int(asked[0])
        if 0 < milliseconds <= most_ms:
            return milliseconds / 1000
    raise InvalidArgument(
        f"{HEADER} is a whole number of milliseconds from 1 to {most_ms}",
        field=HEADER,
        limit=f"{most_ms} ms",
    )


def time_limit(
    request: web.Request, spent_s: float = 0.0, *, most_s: float = DEFAULT_TIMEOUT_S
) -> contextlib.AbstractAsyncContextManager[None]:
    """Bound the work on a request by its deadline, of which `spent_s` are gone.

    Raises DeadlineExceeded, InvalidArgument.
    """
    return _TimeLimit(timeout_s(request, most_s), spent_s)


class _TimeLimit(contextlib.AbstractAsyncContextManager[None]):
    """A class for the reason for which a deadline is one."""

    __slots__ = ("_deadline", "_seconds", "_timeout")

    def __init__(self, seconds: float, spent_s: float) -> None:
        left_s = max(0.0, seconds - spent_s)
        self._seconds = seconds
        self._deadline = deadline.limit(left_s)
        self._timeout = asyncio.timeout(left_s)

    async def __aenter__(self) -> None:
        self._deadline.__enter__()
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
            if isinstance(error, TimeoutError) or self._is_late(error):
                raise _late(self._seconds) from error
        except TimeoutError as late:
            raise _late(self._seconds) from late
        finally:
            self._deadline.__exit__(None, None, None)

    def _is_late(self, error: BaseException | None) -> bool:
        """Whether somebody below was late by the client's time: no more is left of it than what
        each hop keeps for itself."""
        if not isinstance(error, DeadlineExceeded) or error.limit:
            return False
        return (deadline.remaining_s() or 0.0) <= deadline.reserve_s(self._seconds)


def _late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded("no answer within the deadline", limit=f"{seconds * 1000:g} ms")
