"""Judges images by the results that are stored, and runs no model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from services import errors
from services.errors import VisionmeshError
from services.moderation.batch import each
from services.moderation.outcome import outcome_of
from services.moderation.policy import Policy
from services.moderation.stored import StoredReplies
from services.moderation.types import Outcome, Reply, Size
from services.moderation.versions import ModelVersions

Version = str | VisionmeshError


class Recall:
    """Verdicts from the results of the models' current versions. What is not stored is missing."""

    def __init__(self, stored: StoredReplies, versions: ModelVersions) -> None:
        self._stored = stored
        self._versions = versions

    async def evaluate(self, digests: Sequence[str], policy: Policy) -> list[Outcome]:
        """One outcome a digest, in order; at the deadline those that are finished."""
        found = await asyncio.gather(*(self._version(name) for name in policy.models))
        versions = dict(zip(policy.models, found, strict=True))
        outcomes = await each(digests, lambda digest: self._outcome(digest, policy, versions))
        return [outcomes.get(digest) or _unfinished(digest) for digest in digests]

    async def _version(self, model: str) -> Version:
        try:
            return await self._versions.current(model)
        except VisionmeshError as error:
            return error

    async def _outcome(
        self, digest: str, policy: Policy, versions: Mapping[str, Version]
    ) -> Outcome:
        try:
            size = await self._stored.size(digest)
        except VisionmeshError as error:
            return Outcome(digest, error)
        replies = await asyncio.gather(
            *(self._reply(digest, name, version, size) for name, version in versions.items())
        )
        return outcome_of(policy, digest, dict(zip(versions, replies, strict=True)), size)

    async def _reply(self, digest: str, model: str, version: Version, size: Size) -> Reply:
        if isinstance(version, VisionmeshError):
            return version
        return await self._stored.reply(digest, model, version, size)


def _unfinished(digest: str) -> Outcome:
    return Outcome(digest, errors.DeadlineExceeded("no verdict within the deadline"))
