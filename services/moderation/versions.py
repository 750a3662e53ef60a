"""Which version each model has now: what stored results are found by."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from services.client.mesh import MeshClient
from services.errors import VisionmeshError

TTL_S: Final = 5.0
"""How long a version is believed: how long a replaced model's results may still be found."""

ASK_TIMEOUT_S: Final = 1.0
"""How long a model may take to say its version, which it has at hand."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Known:
    version: str
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
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def current(self, model: str) -> str:
        """A model's version. Raises what asking raised when the model was never heard of."""
        async with self._asking[model]:
            known = self._known.get(model)
            if known and self._clock() < known.until:
                return known.version
            try:
                answer = await self._mesh.get_model(model, timeout_s=self._ask_timeout_s)
                version = answer.version
            except VisionmeshError as error:
                known = self._known.get(model)  # an answer may have said it meanwhile
                if known is None:
                    raise
                _log.warning("model's version is not refreshed", model=model, error=error.message)
                version = known.version
            self.learn(model, version)
            return version

    def last(self, model: str) -> str | None:
        """The last version that was heard of, however long ago. Asks nobody."""
        known = self._known.get(model)
        return known.version if known else None

    def learn(self, model: str, version: str) -> None:
        """Take the word of a model that has just said its version."""
        self._known[model] = _Known(version, self._clock() + self._ttl_s)
