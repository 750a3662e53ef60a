"""The text of every policy version that was ever loaded: old releases are judged by it."""

from __future__ import annotations

import asyncio
import contextvars
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import structlog

from services.errors import InvalidPolicy, PolicyNotFound, VisionmeshError
from services.media.objects import Objects
from services.moderation.policy import Policy, Vocabulary, parse_policy

FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
"""How soon, and in the end how seldom, a store that failed is tried again (guesses)."""

CLOSE_TIMEOUT_S: Final = 1.0

COMPILED: Final = 32
"""Old policies that are kept ready for use (a guess)."""

_log = structlog.get_logger()


class PolicyArchive:
    """Policies by name and version, in the object store as they were written."""

    def __init__(
        self, objects: Objects, vocabulary: Vocabulary, *, first_retry_s: float = FIRST_RETRY_S
    ) -> None:
        self._objects = objects
        self._vocabulary = vocabulary
        self._first_retry_s = first_retry_s
        self._compiled: OrderedDict[tuple[str, str], Policy] = OrderedDict()
        self._kept: set[tuple[str, str]] = set()
        self._pending: dict[tuple[str, str], Policy] = {}
        self._keeping: asyncio.Task[None] | None = None

    def keep(self, policies: Iterable[Policy]) -> None:
        """Write down policies that are in use, soon, and again and again while the store fails."""
        for policy in policies:
            key = (policy.name, policy.version)
            self._remember(key, policy)
            if key not in self._kept:
                self._pending[key] = policy
        if self._pending and self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), context=contextvars.Context())

    async def settle(self, timeout_s: float) -> None:
        """Wait until all are written, but not for longer than `timeout_s` seconds."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping], timeout=timeout_s)

    async def get(self, name: str, version: str) -> Policy:
        """A policy as it was in this version. Raises PolicyNotFound, StoreUnavailable.

        It is not found either when its text is damaged, or does not compile any more: then its
        verdicts cannot be given again, and no other version's are given in their place.
        """
        key = (name, version)
        if policy := self._compiled.get(key):
            self._compiled.move_to_end(key)
            return policy
        text = await self._objects.get(_path(key))
        try:
            if text is not None:
                policy = await asyncio.to_thread(parse_policy, text, name, self._vocabulary)
        except InvalidPolicy as error:
            _log.error("archived policy is not usable", policy=name, error=str(error))
        if policy is None or policy.version != version:
            raise PolicyNotFound(
                f"version {version} of the policy {name!r} is not there any more", field="policy"
            )
        self._remember(key, policy)
        return policy

    async def close(self) -> None:
        """Write what has just been loaded, when that takes but a moment, and stop."""
        await self.settle(CLOSE_TIMEOUT_S)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self) -> None:
        delay_s = self._first_retry_s
        try:
            while self._pending:
                key, policy = next(iter(self._pending.items()))
                try:
                    await self._write(key, policy)
                except VisionmeshError as error:
                    _log.warning("policy is not archived", policy=policy.name, error=error.message)
                    # It may be this one's path alone that cannot be written: the others go first.
                    self._pending[key] = self._pending.pop(key)
                    await asyncio.sleep(delay_s)
                    delay_s = min(LONGEST_RETRY_S, 2 * delay_s)
                else:
                    self._kept.add(key)
                    del self._pending[key]
        finally:
            self._keeping = None

    async def _write(self, key: tuple[str, str], policy: Policy) -> None:
        """Written once: later texts of the same version differ in comments alone."""
        text = await self._objects.get(_path(key))
        if text is None or not await asyncio.to_thread(self._is, key, text):
            await self._objects.put(_path(key), policy.text, durable=True)

    def _is(self, key: tuple[str, str], text: bytes) -> bool:
        try:
            return parse_policy(text, key[0], self._vocabulary).version == key[1]
        except InvalidPolicy:
            return False

    def _remember(self, key: tuple[str, str], policy: Policy) -> None:
        self._compiled[key] = policy
        self._compiled.move_to_end(key)
        if len(self._compiled) > COMPILED:
            self._compiled.popitem(last=False)


def _path(key: tuple[str, str]) -> str:
    return f"policies/{key[0]}/{key[1]}.yaml"
