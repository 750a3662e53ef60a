"""Judges images by the results that are stored, and runs no model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from services import errors
from services.errors import VisionmeshError
from services.limits import DEFAULT_BATCH_TIMEOUT_S
from services.media.store import ImageStore
from services.moderation.models import ModelSource
from services.moderation.outcome import outcome_of
from services.moderation.policy import Policy
from services.moderation.types import Answer, Outcome, Reply, Size
from services.moderation.versions import ModelVersions
from services.results.keys import ResultKey
from services.results.store import ResultStore
from services.serving import deadline

CONCURRENCY: Final = 16
"""Images of one call that are looked up at once (a guess)."""

_log = structlog.get_logger()

Version = str | VisionmeshError


class Recall:
    """Verdicts from the results of the models' current versions. What is not stored is missing."""

    def __init__(
        self,
        images: ImageStore,
        results: ResultStore,
        versions: ModelVersions,
        models: Mapping[str, ModelSource],
    ) -> None:
        self._images = images
        self._results = results
        self._versions = versions
        self._models = models

    async def evaluate(self, digests: Sequence[str], policy: Policy) -> list[Outcome]:
        """One outcome a digest, in order; at the deadline those that are finished."""
        found = await asyncio.gather(*(self._version(name) for name in policy.models))
        versions = dict(zip(policy.models, found, strict=True))
        slots = asyncio.Semaphore(CONCURRENCY)
        tasks = {
            digest: asyncio.create_task(self._outcome(digest, policy, versions, slots))
            for digest in dict.fromkeys(digests)
        }
        try:
            timeout_s = deadline.for_callees_s(DEFAULT_BATCH_TIMEOUT_S)
            await asyncio.wait(tasks.values(), timeout=timeout_s)
            return [_finished(digest, tasks[digest]) for digest in digests]
        finally:
            for task in tasks.values():
                task.cancel()

    async def _version(self, model: str) -> Version:
        try:
            return await self._versions.current(model)
        except VisionmeshError as error:
            return error

    async def _outcome(
        self,
        digest: str,
        policy: Policy,
        versions: Mapping[str, Version],
        slots: asyncio.Semaphore,
    ) -> Outcome:
        async with slots:
            try:
                record = await self._images.get(digest)
                size = Size(record.width, record.height)
                replies = await asyncio.gather(
                    *(
                        self._reply(digest, name, version, size)
                        for name, version in versions.items()
                    )
                )
            except VisionmeshError as error:
                return Outcome(digest, error)
        return outcome_of(policy, digest, dict(zip(versions, replies, strict=True)), size)

    async def _reply(self, digest: str, model: str, version: Version, size: Size) -> Reply:
        if isinstance(version, VisionmeshError):
            return version
        key = ResultKey(digest, model, version)
        missing = errors.NotFound(f"model {model!r} has no stored result of this image")
        try:
            data = await self._results.get(key)
            return Answer(self._models[model].decode(data), version, size) if data else missing
        except ValueError as error:
            _log.warning("stored result is not readable", key=key, error=str(error))
            return missing
        except VisionmeshError as error:
            return error


def _finished(digest: str, task: asyncio.Task[Outcome]) -> Outcome:
    if task.done():
        return task.result()
    return Outcome(digest, errors.DeadlineExceeded("no verdict within the deadline"))
