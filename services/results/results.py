"""Results by name, wherever they are: memory, Redis, the object store, or not made yet.

What is cheap to ask is asked first: memory, then a folder's files (microseconds, from the page
cache), then Redis (a round trip), then a cloud's objects (several). A result that is found further
away is kept nearer by. A tier that fails costs an inference at most, and never an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Self

import structlog

from services.errors import StoreUnavailable
from services.limits import REDIS_BUDGET_S
from services.media.objects import Objects
from services.results.durable import Check, DurableTier, durable_tier
from services.results.envelope import Value, fresh
from services.results.flights import Flights
from services.results.keys import ResultKey
from services.results.memory import MAX_BYTES, MemoryTier
from services.results.shared import Lease, SharedTier
from services.serving import timing, tracing
from services.serving.attributes import MODEL_NAME, MODEL_VERSION, RESULT_TIER
from services.serving.diagnostics import Diagnostics

MAX_BEHIND: Final = 256
"""Results that are on their way to the object store while their answers have left. When a store
falls this far behind, results beyond stay out of it: they can be made again."""

Make = Callable[[], Awaitable[Value]]
"""Makes a result, or the error that stands for one. What it raises is not kept."""

_IN_MEMORY: Final = {RESULT_TIER: "memory"}

_log = structlog.get_logger()


def _anything(data: bytes) -> None:
    """Takes all bytes that were stored for a result."""


class Results:
    """Encoded results, and errors that stand for one, by key.

    Who asks has been checked to own the image. Belongs to one event loop; `close` it.
    """

    def __init__(
        self,
        memory: MemoryTier,
        shared: SharedTier | None,
        durable: DurableTier,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._durable = durable
        self._diagnostics = diagnostics or Diagnostics()
        self._count = self._diagnostics.count
        self._flights: Flights[ResultKey, Value] = Flights(
            lambda: self._count("flights.joined"), name="result"
        )
        for tier in ("memory", "durable", *(("shared",) if shared else ())):
            self._count(f"results.{tier}.hits", 0)
        for counter in ("misses", "durable.failed", "durable.dropped"):
            self._count(f"results.{counter}", 0)
        self._count("flights.joined", 0)
        self._behind: set[asyncio.Task[None]] = set()
        self._trouble: str | None = None
        self._diagnostics.watch("results.durable", lambda: self._trouble)
        if shared:
            self._diagnostics.watch("results.shared", shared.ailment)

    @classmethod
    def over(
        cls,
        objects: Objects,
        *,
        redis_url: str = "",
        redis_budget_s: float = REDIS_BUDGET_S,
        memory_bytes: int = MAX_BYTES,
        diagnostics: Diagnostics | None = None,
    ) -> Self:
        """All three tiers, without Redis when there is no URL. Connects to nothing yet.

        What Redis does not do within `redis_budget_s` seconds is done without it.

        Raises InvalidArgument when the URL names no Redis.
        """
        shared = SharedTier(redis_url, budget_s=redis_budget_s) if redis_url else None
        return cls(MemoryTier(memory_bytes), shared, durable_tier(objects), diagnostics)

    async def start(self) -> None:
        """Meet Redis before the first request does. Not needed, and never raises."""
        if self._shared:
            await self._shared.start()

    def remembered(self, key: ResultKey) -> Value | None:
        """What memory has: what there is to know at no cost."""
        value = self._memory.get(key)
        if value is not None:
            self._count("results.memory.hits")
            timing.note(key.model, timing.STORED)
            tracing.event("result.hit", _IN_MEMORY)
        return value

    async def get(self, key: ResultKey, check: Check = _anything) -> Value | None:
        """A stored result, an error that stands for one, or None when nothing is stored."""
        value = self.remembered(key)
        if value is None and self._durable.near:
            value = await self._stored(key, check)
        if value is None and self._shared:
            value = self._found("shared", key, await self._shared.get(key, check))
        if value is None and not self._durable.near:
            value = await self._stored(key, check)
            if value is not None and self._shared:
                self._soon(self._carry(key, value, None, store=False))
        if value is None:
            self._missed()
        return value

    async def put(self, key: ResultKey, value: Value) -> None:
        """Keep a result: in memory at once, in the other tiers behind."""
        self._memory.put(key, value)
        self._keep(key, value, None)

    async def obtain(self, key: ResultKey, make: Make, check: Check = _anything) -> Value:
        """A stored result, or the one that `make` makes, once however many ask for it.

        `make` runs in a task of its own, on behalf of everybody who waits. Raises what it raises.
        `check` raises ValueError for stored bytes that are no result: they count as absent.
        """
        value = self.remembered(key)
        if value is not None:
            return value
        if key in self._flights:
            timing.note(key.model, timing.JOINED)
        return fresh(await self._flights.join(key, lambda: self._fly(key, make, check)))

    async def forget(self, digest: str) -> None:
        """Forget an image's results here and in Redis; the object store's go with its folder.

        Raises StoreUnavailable while Redis cannot be told.
        """
        self._memory.forget(digest)
        if self._shared:
            await self._shared.forget(digest)

    async def admit(self, digest: str) -> None:
        """Keep results again of an image that was forgotten, as somebody has it again.

        Never raises: a Redis that cannot be told takes them two minutes later.
        """
        if self._shared:
            await self._shared.admit(digest)

    async def settle(self) -> None:
        """Wait until what was made is in every tier that takes it."""
        while self._behind:
            await asyncio.wait(self._behind)

    async def close(self) -> None:
        """End what is being made, write what was, and let go of everything."""
        await self._flights.close()
        await self.settle()
        if self._shared:
            await self._shared.close()
        self._memory.close()

    async def _fly(self, key: ResultKey, make: Make, check: Check) -> Value:
        tracing.describe({MODEL_NAME: key.model, MODEL_VERSION: key.version})
        if self._durable.near and (value := await self._stored(key, check)) is not None:
            return value
        claim = await self._shared.claim(key, check) if self._shared else None
        if claim is not None and not isinstance(claim, Lease):
            self._found("shared", key, claim)
            return claim
        lease = claim
        try:
            value = await self._after_claim(key, check, lease)
            if value is None:
                self._missed()
                timing.note(key.model, timing.MADE)
                value = await make()
                self._memory.put(key, value)
                self._keep(key, value, lease)
            elif lease:
                self._soon(self._carry(key, value, lease, store=False))
            lease = None  # ends when the others can find the value
            return value
        finally:
            if lease and self._shared:
                self._shared.release(lease)

    async def _after_claim(self, key: ResultKey, check: Check, lease: Lease | None) -> Value | None:
        """What the durable tier has, where it was not asked before, or somebody may have been ahead
        since: who had the lease before."""
        if self._durable.near and not lease:
            return None
        return await self._stored(key, check)

    async def _stored(self, key: ResultKey, check: Check) -> Value | None:
        return self._found("durable", key, await self._read(key, check))

    async def _read(self, key: ResultKey, check: Check) -> Value | None:
        try:
            return await self._durable.get(key, check)
        except StoreUnavailable:
            return None

    def _found(self, tier: str, key: ResultKey, value: Value | None) -> Value | None:
        if value is not None:
            self._count(f"results.{tier}.hits")
            timing.note(key.model, timing.STORED)
            tracing.event("result.hit", {RESULT_TIER: tier})
            self._memory.put(key, value)
        return value

    def _missed(self) -> None:
        self._count("results.misses")
        tracing.event("result.miss")

    def _keep(self, key: ResultKey, value: Value, lease: Lease | None) -> None:
        """Carry a result to the other tiers behind its answer."""
        store = len(self._behind) < MAX_BEHIND
        if not store:
            self._count("results.durable.dropped")
        self._soon(self._carry(key, value, lease, store=store))

    async def _carry(
        self, key: ResultKey, value: Value, lease: Lease | None, *, store: bool = True
    ) -> None:
        """To Redis first, as others wait there. What it does not keep they find in the store: the
        lease does not end before."""
        kept = self._shared is not None and await self._shared.publish(key, value, lease)
        try:
            if store:
                await self._store(key, value)
        finally:
            if self._shared and lease and not kept:
                self._shared.release(lease)

    async def _store(self, key: ResultKey, value: Value) -> None:
        try:
            await self._durable.put(key, value)
            self._trouble = None
        except StoreUnavailable:
            self._count("results.durable.failed")
            self._trouble = "results cannot be stored: they are made again when they are needed"

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
