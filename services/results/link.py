"""The way to a Redis that may be down, slow, full or no Redis at all.

Everything has one budget. After a command that got no answer Redis is left alone until it answers a
ping, which no request waits for: an outage costs its first requests a budget, the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import structlog
from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from services import errors
from services.limits import REDIS_BUDGET_S
from services.results.scripts import Script

PROBE_S: Final = 1.0
CONNECTIONS: Final = 32

Word = str | bytes | int

FAILURES: Final = (RedisError, OSError, TimeoutError, ValueError)
"""All that redis-py raises, by its documentation and by test, and the budget's end."""

_log = structlog.get_logger()


class NoAnswer(Exception):
    """Redis did not do it: whoever asked goes on without."""


class RedisLink:
    """Connections to one Redis, and what ails it."""

    def __init__(
        self, url: str, *, budget_s: float = REDIS_BUDGET_S, probe_s: float = PROBE_S
    ) -> None:
        """Connects when first used. Raises InvalidArgument when the URL names no Redis."""
        try:
            self._pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                # The one budget is around all of it.
                timeout=None,
                socket_timeout=None,
                socket_connect_timeout=None,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise errors.InvalidArgument("redis_url: names no Redis", field="redis_url") from error
        self._budget_s = budget_s
        self._probe_s = probe_s
        self._probe: asyncio.Task[None] | None = None
        self._trouble: str | None = None

    def ailment(self) -> str | None:
        """What is wrong, for a person; None while Redis does what it is asked."""
        return self._trouble

    async def bring(self, script: Script) -> None:
        """Have Redis keep a script, for the first one who runs it. Raises NoAnswer."""
        await self._within_budget("SCRIPT", "LOAD", script.text)

    async def run(self, script: Script, keys: Sequence[Word], *arguments: Word) -> Any:
        """What a script answers. Raises NoAnswer."""
        if self._probe is not None:
            raise NoAnswer
        return await self.insist(script, keys, *arguments)

    async def insist(self, script: Script, keys: Sequence[Word], *arguments: Word) -> Any:
        """What a script answers, asked for also while Redis is left alone. Raises NoAnswer."""
        words = (len(keys), *keys, *arguments)
        try:
            return await self._within_budget("EVALSHA", script.sha, *words)
        except NoScriptError:
            return await self._within_budget("EVAL", script.text, *words)

    def accepted(self) -> None:
        """Note that Redis keeps what it is given."""
        self._trouble = None

    def refused(self, reason: str) -> None:
        """Note that it does not. Said until it does: reading may go on as if nothing were."""
        if self._trouble is None:
            _log.warning("redis refuses", reason=reason)
        self._trouble = "Redis refuses to keep results: they are not shared between replicas"

    async def close(self) -> None:
        if self._probe:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        await self._pool.disconnect()

    async def _within_budget(self, *words: Word) -> Any:
        try:
            async with asyncio.timeout(self._budget_s):
                return await self._command(*words)
        except NoScriptError:
            raise
        except FAILURES as error:
            self._failed(error)
            raise NoAnswer from error

    async def _command(self, *words: Word) -> Any:
        """One command and its answer, packed by hiredis: redis-py's own way costs half as much
        again (docs/decisions/results-tiers.md)."""
        packed = pack_command(words)  # type: ignore[arg-type]  # its stub knows tuples of one
        try:
            return await self._exchange(packed)
        except RedisConnectionError:
            # A Redis that was restarted has closed the connections that were waiting. The same
            # command twice does no harm: a token is claimed once, a result is what it was.
            return await self._exchange(packed)

    async def _exchange(self, packed: bytes) -> Any:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(packed, check_health=False)
            return await connection.read_response()  # disconnects when it is cut short
        finally:
            await self._pool.release(connection)

    def _failed(self, error: Exception) -> None:
        """A refusal is an answer; for silence and broken connections Redis is left alone."""
        if isinstance(error, ResponseError) and not isinstance(error, BusyLoadingError):
            self.refused(str(error))
        elif self._probe is None:
            _log.warning("redis does not answer", kind=type(error).__name__, reason=str(error))
            self._trouble = "Redis does not answer: results are not shared between replicas"
            self._probe = asyncio.create_task(self._until_it_answers())

    async def _until_it_answers(self) -> None:
        answers = False
        while not answers:
            await asyncio.sleep(self._probe_s)
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(self._budget_s):
                    answers = await self._command("PING") == b"PONG"
        _log.info("redis answers again")
        self._trouble = None
        self._probe = None
