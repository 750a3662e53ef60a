"""How long the work on one request may take.

Envoy's route timeout does not apply to a request that its cache sends on, so the facade itself
answers in time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def time_limit(
    request: web.Request, spent_s: float = 0.0, *, most_s: float = DEFAULT_TIMEOUT_S
) -> AsyncIterator[None]:
    """Bound the work on a request by its deadline, of which `spent_s` are gone.

    Raises DeadlineExceeded, InvalidArgument.
    """
    seconds = timeout_s(request, most_s)
    left_s = max(0.0, seconds - spent_s)
    with deadline.limit(left_s):
        try:
            async with asyncio.timeout(left_s):
                yield
        except TimeoutError as error:
            raise _late(seconds) from error
        except DeadlineExceeded as error:
            # Somebody below was late: by the client's time, if no more is left of it than what
            # each hop keeps for itself.
            left_s = deadline.remaining_s() or 0.0
            if error.limit or left_s > deadline.reserve_s(seconds):
                raise
            raise _late(seconds) from error


def _late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded("no answer within the deadline", limit=f"{seconds * 1000:g} ms")
