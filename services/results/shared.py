"""The tier that replicas share: Redis, which may be down, slow, full or anybody's playground.

One hash an image, one field a result, one lease for each result that somebody is making. Nothing
here fails a request: what does not succeed within `BUDGET_S` is done without, and after one that
got no answer Redis is left alone until it answers a ping, which no request waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from services import errors
from services.results import scripts
from services.results.durable import Check, intact
from services.results.envelope import Value, wrap
from services.results.keys import ResultKey

BUDGET_S: Final = 0.25
"""What one operation may take, connecting included: a thousand times what it does take, as a busy
event loop is no outage. The first operations of an outage cost this much, and no others."""

LEASE_S: Final = 3.0
"""How long a replica that died keeps the others from making a result. One that lives renews."""

LIFETIME_S: Final = 24 * 3600
"""How long a result stays after it was last published: the durable tier has it for longer (a
guess)."""

GONE_S: Final = 120
"""How long nothing is published of an image that was deleted. A flight looks whether its image is
still there and then publishes at once: it cannot be this late."""

PROBE_S: Final = 1.0
CONNECTIONS: Final = 32

FIRST_WAIT_S: Final = 0.004
LONGEST_WAIT_S: Final = 0.03
"""Between two looks at whether another replica has finished: an inference takes 10 ms and more."""

PREFIX: Final = "visionmesh"

T = TypeVar("T")

_log = structlog.get_logger()


@dataclass
class Lease:
    """The right to make one result while others wait, until it is published or released."""

    key: ResultKey
    token: bytes
    waited: bool = False
    """Whether somebody else had it before: what they made may be in another tier."""
    renewal: asyncio.TimerHandle | None = field(default=None, repr=False)


class _NoAnswer(Exception):
    """Redis did not do it: whoever asked goes on without."""


class SharedTier:
    """Results and leases in Redis 7 or later."""

    def __init__(
        self,
        url: str,
        *,
        budget_s: float = BUDGET_S,
        lease_s: float = LEASE_S,
        probe_s: float = PROBE_S,
    ) -> None:
        """Connects when first used. Raises InvalidArgument when the URL names no Redis."""
        try:
            pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=None,
                socket_timeout=None,
                socket_connect_timeout=None,
                # The one budget is around all of it. Once more, at once, for a connection that a
                # restarted Redis has closed meanwhile.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise errors.InvalidArgument("redis_url: names no Redis", field="redis_url") from error
        self._redis: Redis = Redis.from_pool(pool)
        self._budget_s = budget_s
        self._lease_s = lease_s
        self._probe_s = probe_s
        self._probe: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._renewals: set[asyncio.Task[None]] = set()
        register = self._redis.register_script
        self._claim = register(scripts.CLAIM)
        self._publish = register(scripts.PUBLISH)
        self._release = register(scripts.RELEASE)
        self._renew = register(scripts.RENEW)
        self._discard = register(scripts.DISCARD)
        self._forget = register(scripts.FORGET)

    def ailment(self) -> str | None:
        """What is wrong, for a person; None while Redis does what it is asked."""
        return self._trouble

    async def start(self) -> None:
        """Connect and bring the scripts, so that no request waits for it. Never raises."""
        with contextlib.suppress(_NoAnswer):
            await self._ask(lambda: self._redis.script_load(scripts.CLAIM))
            await self._ask(lambda: self._redis.script_load(scripts.PUBLISH))

    async def get(self, key: ResultKey, check: Check) -> Value | None:
        """A stored result, None when there is none or no answer."""
        try:
            found = await self._ask(lambda: self._redis.hget(_results(key.digest), _field(key)))
        except _NoAnswer:
            return None
        return intact(key, found, check) if isinstance(found, bytes) else None

    async def claim(self, key: ResultKey, check: Check) -> Value | Lease | None:
        """A stored result, or the lease to make it; None when Redis does not say.

        Waits while another replica makes it. Garbage is thrown away, not waited for.
        """
        token = os.urandom(8).hex().encode()
        keys = (_results(key.digest), _lease(key))
        arguments = (_field(key), token, int(self._lease_s * 1000))
        wait_s, waited = FIRST_WAIT_S, False
        while True:
            try:
                found = await self._ask(lambda: self._claim(keys, arguments))
                if isinstance(found, bytes):
                    if (value := intact(key, found, check)) is not None:
                        return value
                    garbage = found
                    await self._ask(lambda: self._discard(keys[:1], (_field(key), garbage)))  # noqa: B023 -- awaited here
                    continue
            except _NoAnswer:
                return None
            except asyncio.CancelledError:
                # It may have become ours on the way. Nobody waits for this: see Lease.
                self._later(self._let_go(key, token))
                raise
            if found == scripts.MINE:
                lease = Lease(key, token, waited)
                self._keep_up(lease)
                return lease
            waited = True
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def publish(self, key: ResultKey, value: Value, lease: Lease | None = None) -> bool:
        """Keep a result and end its lease. False when it is not kept: the image is gone, or Redis.

        Both in one step: who waits for the lease finds the result.
        """
        _stop_renewing(lease)
        token = lease.token if lease else b""
        try:
            kept = await self._ask(
                lambda: self._publish(
                    (_results(key.digest), _lease(key), _gone(key.digest)),
                    (_field(key), wrap(key, value), token, LIFETIME_S),
                )
            )
        except _NoAnswer:
            return False
        if kept == scripts.KEPT:
            self._trouble = None
        elif kept == scripts.REFUSED:
            self._refused("a result was not taken")
        return bool(kept == scripts.KEPT)

    def release(self, lease: Lease) -> None:
        """End a lease without a result: somebody else may try. Nobody waits for it."""
        _stop_renewing(lease)
        self._later(self._let_go(lease.key, lease.token))

    async def forget(self, digest: str) -> None:
        """Forget all results of an image, and take none for a while.

        Raises StoreUnavailable when Redis cannot be told: then it may still have them.
        """
        try:
            async with asyncio.timeout(self._budget_s):
                await self._forget((_results(digest), _gone(digest)), (GONE_S,))
        except _FAILURES as error:
            self._failed(error)
            raise errors.StoreUnavailable("the shared results cannot be reached") from error

    async def close(self) -> None:
        """End every task and connection. Leases that are still held end by themselves."""
        if self._probe:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        while self._renewals:
            await asyncio.wait(self._renewals)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _ask(self, operation: Callable[[], Awaitable[T]]) -> T:
        if self._probe is not None:
            raise _NoAnswer
        try:
            async with asyncio.timeout(self._budget_s):
                return await operation()
        except _FAILURES as error:
            self._failed(error)
            raise _NoAnswer from error

    def _failed(self, error: Exception) -> None:
        """A refusal is an answer; for silence and broken connections Redis is left alone."""
        if isinstance(error, ResponseError) and not isinstance(error, BusyLoadingError):
            self._refused(str(error))
            return
        if self._probe is None:
            _log.warning("redis does not answer", kind=type(error).__name__, reason=str(error))
            self._trouble = "Redis does not answer: results are not shared between replicas"
            self._probe = asyncio.create_task(self._until_it_answers())

    def _refused(self, reason: str) -> None:
        """Stays said until something is kept again: reading may go on as if nothing were."""
        if self._trouble is None:
            _log.warning("redis refuses", reason=reason)
        self._trouble = "Redis refuses to keep results: they are not shared between replicas"

    async def _until_it_answers(self) -> None:
        while True:
            await asyncio.sleep(self._probe_s)
            try:
                async with asyncio.timeout(self._budget_s):
                    await cast(Awaitable[Any], self._redis.ping())
            except _FAILURES:
                continue
            _log.info("redis answers again")
            self._trouble = None
            self._probe = None
            return

    def _keep_up(self, lease: Lease) -> None:
        loop = asyncio.get_running_loop()
        lease.renewal = loop.call_later(
            self._lease_s / 3, lambda: self._later(self._renew_lease(lease))
        )

    async def _renew_lease(self, lease: Lease) -> None:
        arguments = (lease.token, int(self._lease_s * 1000))
        with contextlib.suppress(_NoAnswer):
            await self._ask(lambda: self._renew((_lease(lease.key),), arguments))
        if lease.renewal is not None:
            self._keep_up(lease)

    async def _let_go(self, key: ResultKey, token: bytes) -> None:
        with contextlib.suppress(_NoAnswer):
            await self._ask(lambda: self._release((_lease(key),), (token,)))

    def _later(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)


_FAILURES: Final = (RedisError, OSError, TimeoutError, ValueError)
"""All that redis-py raises, by its documentation and by test, and the budget's end."""


def _stop_renewing(lease: Lease | None) -> None:
    if lease and lease.renewal:
        lease.renewal.cancel()
        lease.renewal = None


def _results(digest: str) -> str:
    return f"{PREFIX}:results:{{{digest}}}"


def _gone(digest: str) -> str:
    return f"{PREFIX}:gone:{{{digest}}}"


def _lease(key: ResultKey) -> str:
    return f"{PREFIX}:lease:{{{key.digest}}}:{_field(key)}"


def _field(key: ResultKey) -> str:
    return f"{key.model}.{key.version}"
