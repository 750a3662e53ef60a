"""Judges images by the results that are stored, and runs no model."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from services import errors
from services.errors import VisionmeshError
from services.moderation.batch import each
from services.moderation.outcome import judged
from services.moderation.policy import Policy
from services.moderation.stored import StoredReplies
from services.moderation.types import Outcome, Reply, Size
from services.releases.release import Release
from services.releases.releases import Releases

Version = str | VisionmeshError


class Recall:
    """Verdicts from the results of one version of each model. What is not stored is missing."""

    def __init__(self, stored: StoredReplies, releases: Releases) -> None:
        self._stored = stored
        self._releases = releases

    async def evaluate(
        self,
        digests: Sequence[str],
        policy: Policy,
        release: Release | None = None,
        without: Collection[str] = (),
    ) -> list[Outcome]:
        """One outcome a digest, in order; at the deadline those that are finished.

        By a release's versions when one is given, else by the current ones. The models in `without`
        gave no answer.
        """
        models = [name for name in policy.models if name not in without]
        found = await asyncio.gather(*(self._version(name, release) for name in models))
        versions = dict(zip(models, found, strict=True))
        outcomes = await each(digests, lambda digest: self._outcome(digest, policy, versions))
        return [outcomes.get(digest) or _unfinished(digest) for digest in digests]

    async def _version(self, model: str, release: Release | None) -> Version:
        if release:
            return release.version(model)
        try:
            return await self._releases.version(model)
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
        return await judged(policy, digest, dict(zip(versions, replies, strict=True)), size)

    async def _reply(self, digest: str, model: str, version: Version, size: Size) -> Reply:
        if isinstance(version, VisionmeshError):
            return version
        return await self._stored.reply(digest, model, version, size)


def _unfinished(digest: str) -> Outcome:
    return Outcome(digest, errors.DeadlineExceeded("no verdict within the deadline"))
