"""The tier that replicas share: results and leases in Redis.

One hash an image, one field a result, one lease for each result that somebody is making. Nothing
here fails a request: what Redis does not do within its budget is done without.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from services import errors
from services.limits import REDIS_BUDGET_S
from services.results import scripts
from services.results.durable import Check, intact
from services.results.envelope import Value, wrap
from services.results.keys import ResultKey
from services.results.link import PROBE_S, NoAnswer, RedisLink

LEASE_S: Final = 3.0
"""How long a replica that died keeps the others from making a result. One that lives renews."""

LIFETIME_S: Final = 24 * 3600
"""How long a result stays after it was last published: the durable tier has it for longer (a
guess)."""

GONE_S: Final = 120
"""How long nothing is published of an image that was deleted. A flight looks whether its image is
still there and then publishes at once: it cannot be this late."""

FIRST_WAIT_S: Final = 0.004
LONGEST_WAIT_S: Final = 0.03
"""Between two looks at whether another replica has finished: an inference takes 10 ms and more."""

PREFIX: Final = "visionmesh"


@dataclass
class Lease:
    """The right to make one result while others wait, until it is published or released."""

    key: ResultKey
    token: bytes
    renewal: asyncio.TimerHandle | None = field(default=None, repr=False)


class SharedTier:
    """Results and leases in Redis 7 or later."""

    def __init__(
        self,
        url: str,
        *,
        budget_s: float = REDIS_BUDGET_S,
        lease_s: float = LEASE_S,
        probe_s: float = PROBE_S,
    ) -> None:
        """Connects when first used. Raises InvalidArgument when the URL names no Redis."""
        self._link = RedisLink(url, budget_s=budget_s, probe_s=probe_s)
        self._lease_s = lease_s
        self._behind: set[asyncio.Task[None]] = set()

    def ailment(self) -> str | None:
        """What is wrong, for a person; None while Redis does what it is asked."""
        return self._link.ailment()

    async def start(self) -> None:
        """Connect, and bring the scripts that a miss runs, so that no request waits for that.

        Never raises.
        """
        for script in (scripts.CLAIM, scripts.PUBLISH):
            with contextlib.suppress(NoAnswer):
                await self._link.bring(script)

    async def get(self, key: ResultKey, check: Check) -> Value | None:
        """A stored result, None when there is none or no answer."""
        try:
            found = await self._link.run(scripts.GET, (_results(key.digest),), _field(key))
        except NoAnswer:
            return None
        return intact(key, found, check) if isinstance(found, bytes) else None

    async def claim(self, key: ResultKey, check: Check) -> Value | Lease | None:
        """A stored result, or the lease to make it; None when Redis does not say.

        Waits while another replica makes it. Garbage is thrown away, not waited for.
        """
        token = os.urandom(8).hex().encode()
        keys = (_results(key.digest), _lease(key))
        lease_ms = int(self._lease_s * 1000)
        wait_s, discarded = FIRST_WAIT_S, False
        while True:
            try:
                found = await self._link.run(scripts.CLAIM, keys, _field(key), token, lease_ms)
                if isinstance(found, bytes):
                    if (value := intact(key, found, check)) is not None:
                        return value
                    if discarded:
                        return None  # it cannot be thrown away, or somebody makes more of it
                    discarded = True
                    await self._link.run(scripts.DISCARD, keys[:1], _field(key), found)
                    continue
            except NoAnswer:
                return None
            except asyncio.CancelledError:
                # It may have become ours on the way. Nobody waits for this: see Lease.
                self._later(self._let_go(key, token))
                raise
            if found == scripts.MINE:
                lease = Lease(key, token)
                self._keep_up(lease)
                return lease
            if found != scripts.BUSY:
                return None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def publish(self, key: ResultKey, value: Value, lease: Lease | None = None) -> bool:
        """Keep a result and end its lease, in one step: who waits for the lease finds the result.

        False when it is not kept, as the image is gone or Redis is, or full. Then the lease goes on
        until it is released.
        """
        token = lease.token if lease else b""
        try:
            kept = await self._link.run(
                scripts.PUBLISH,
                (_results(key.digest), _lease(key), _gone(key.digest)),
                *(_field(key), wrap(key, value), token, LIFETIME_S),
            )
        except NoAnswer:
            return False
        if kept == scripts.KEPT:
            _stop_renewing(lease)
            self._link.accepted()
        elif kept == scripts.REFUSED:
            self._link.refused("a result was not taken")
        return bool(kept == scripts.KEPT)

    def release(self, lease: Lease) -> None:
        """End a lease without a result: somebody else may try. Nobody waits for it."""
        _stop_renewing(lease)
        self._later(self._let_go(lease.key, lease.token))

    async def forget(self, digest: str) -> None:
        """Forget all results of an image, and take none for a while, or until it is admitted.

        Raises StoreUnavailable when Redis cannot be told: then it may still have them.
        """
        try:
            await self._link.insist(scripts.FORGET, (_results(digest), _gone(digest)), GONE_S)
        except NoAnswer as error:
            raise errors.StoreUnavailable("the shared results cannot be reached") from error

    async def admit(self, digest: str) -> None:
        """Take results of an image again that somebody has again. Never raises.

        A Redis that cannot be told goes on refusing them for what is left of `GONE_S`.
        """
        with contextlib.suppress(NoAnswer):
            await self._link.run(scripts.ADMIT, (_gone(digest),))

    async def close(self) -> None:
        """End every task and connection. Leases that are still held end by themselves."""
        while self._behind:
            await asyncio.wait(self._behind)
        await self._link.close()

    def _keep_up(self, lease: Lease) -> None:
        loop = asyncio.get_running_loop()
        lease.renewal = loop.call_later(
            self._lease_s / 3, lambda: self._later(self._renew_lease(lease))
        )

    async def _renew_lease(self, lease: Lease) -> None:
        lease_ms = int(self._lease_s * 1000)
        with contextlib.suppress(NoAnswer):
            await self._link.run(scripts.RENEW, (_lease(lease.key),), lease.token, lease_ms)
        if lease.renewal is not None:
            self._keep_up(lease)

    async def _let_go(self, key: ResultKey, token: bytes) -> None:
        with contextlib.suppress(NoAnswer):
            await self._link.run(scripts.RELEASE, (_lease(key),), token)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)


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
