"""Which version each model has now: what stored results are found by."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.serving import deadline

TTL_S: Final = 5.0
"""How long a version is believed: how long a replaced model's results may still be found."""

ASK_TIMEOUT_S: Final = 1.0
"""How long a model may take to say its version, which it has at hand."""

GRACE_S: Final = 1.0
"""How much longer a question may take to end than the time that it was given (a guess)."""

FAILURE_TTL_S: Final = 1.0
"""How long a model that was never heard of is not asked again after it has failed (a guess)."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Known:
    version: str
    until: float


@dataclass(frozen=True, slots=True)
class _Failed:
    error: VisionmeshError
    until: float


class ModelVersions:
    """Remembers the models' versions, and keeps the last one of a model that does not answer."""

    def __init__(
        self,
        mesh: MeshClient,
        *,
        ttl_s: float = TTL_S,
        ask_timeout_s: float = ASK_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mesh = mesh
        self._ttl_s = ttl_s
        self._ask_timeout_s = ask_timeout_s
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, _Failed] = {}
        self._asking: dict[str, asyncio.Task[VisionmeshError | None]] = {}

    async def current(self, model: str) -> str:
        """A model's version, before the current deadline.

        Raises what asking raised, or DeadlineExceeded, when the model was never heard of.
        """
        known = self._known.get(model)
        if known and self._clock() < known.until:
            return known.version
        failure = self._failed.get(model)
        if failure and self._clock() < failure.until:
            raise failure.error
        error = await self._asked(model)
        if known := self._known.get(model):
            return known.version
        raise error or errors.DeadlineExceeded("the model did not say its version in time")

    def last(self, model: str) -> str | None:
        """The last version that was heard of, however long ago. Asks nobody."""
        known = self._known.get(model)
        return known.version if known else None

    def learn(self, model: str, version: str) -> None:
        """Take the word of a model that has just said its version."""
        self._known[model] = _Known(version, self._clock() + self._ttl_s)
        self._failed.pop(model, None)

    async def _asked(self, model: str) -> VisionmeshError | None:
        """Wait for the one question that is under way, and return what it failed with."""
        asking = self._asking.get(model)
        if asking is None:
            # Asked for everybody: in nobody's trace and within nobody's deadline.
            asking = asyncio.create_task(self._ask(model), context=contextvars.Context())
            self._asking[model] = asking
        # What asks ends by itself; a caller with less time leaves it to the others.
        own_s = deadline.for_callees_s(self._ask_timeout_s + GRACE_S)
        await asyncio.wait([asking], timeout=own_s)
        return asking.result() if asking.done() else None

    async def _ask(self, model: str) -> VisionmeshError | None:
        try:
            answer = await self._mesh.get_model(model, timeout_s=self._ask_timeout_s)
        except VisionmeshError as error:
            if known := self._known.get(model):  # an answer may have said it meanwhile
                _log.warning("model's version is not refreshed", model=model, error=error.message)
                self.learn(model, known.version)
            else:
                self._failed[model] = _Failed(error, self._clock() + FAILURE_TTL_S)
            return error
        finally:
            del self._asking[model]
        self.learn(model, answer.version)
        return None
