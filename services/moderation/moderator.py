"""Asks the models that a policy reads, all at once, and judges what they answered.

Where one did not answer, what it said earlier serves as well: the same version of a model says the
same of the same image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.moderation.converters import broken_promise, reply_from_proto
from services.moderation.fallback import Fallback
from services.moderation.models import ModelSource
from services.moderation.outcome import judged
from services.moderation.policy import Policy
from services.moderation.types import Answer, Outcome, Reply
from services.releases.release import Release
from services.releases.releases import Releases
from services.serving.inline import check_inline_bytes
from visionmesh.common.v1.image_pb2 import ImageRef

_log = structlog.get_logger()


class Moderator:
    """Verdicts by running models. Inline bytes go on to the models, which check them."""

    def __init__(
        self,
        mesh: MeshClient,
        models: Mapping[str, ModelSource],
        releases: Releases,
        fallback: Fallback,
    ) -> None:
        """`releases` learns from the models' answers; `fallback` fills in for those that failed."""
        self._mesh = mesh
        self._models = models
        self._releases = releases
        self._fallback = fallback

    async def moderate(
        self, refs: Sequence[ImageRef], policy: Policy, release: Release | None = None
    ) -> list[Outcome]:
        """One outcome a reference, in order, before the current deadline.

        With a release, its versions are asked for: a model that is on another one by now answers
        with what is stored, and what is not stored is missing.
        The mesh client ends each call a little before the deadline, so that a model that hangs
        leaves the time to look for what is stored. Raises ImageTooLarge when the call carries more
        than `MAX_INLINE_BYTES` inline.
        """
        check_inline_bytes(refs)
        by_model = await asyncio.gather(
            *(self._ask(self._models[name], refs, release) for name in policy.models)
        )
        replies = [
            dict(zip(policy.models, of_image, strict=True))
            for of_image in zip(*by_model, strict=True)
        ]
        completed = await self._fallback.complete(refs, replies, release)
        return [
            Outcome(ref.digest, found)
            if isinstance(found, VisionmeshError)
            else await judged(policy, ref.digest, found)
            for ref, found in zip(refs, completed, strict=True)
        ]

    async def _ask(
        self, source: ModelSource, refs: Sequence[ImageRef], release: Release | None
    ) -> list[Reply]:
        """One reply a reference; a model that fails as a whole fails for every image alike."""
        version = release.version(source.name) if release else ""
        if release and not version:
            return [errors.ResultNotFound(f"the release knows no {source.name!r}")] * len(refs)
        try:
            outcomes = await source.ask(self._mesh, refs, model_version=version)
        except VisionmeshError as error:
            _log.warning("model did not answer", model=source.name, error=error.message)
            return [_of_the_model(error)] * len(refs)
        if len(outcomes) != len(refs):
            cause = f"gave {len(outcomes)} outcomes for {len(refs)} images"
            return [broken_promise(source, cause)] * len(refs)
        replies = [
            reply_from_proto(source, ref.digest, outcome)
            for ref, outcome in zip(refs, outcomes, strict=True)
        ]
        if version:
            return [_of_version(version, source, reply) for reply in replies]
        self._learn(source, replies)
        return replies

    def _learn(self, source: ModelSource, replies: Sequence[Reply]) -> None:
        """Remember which version it is that answers now, for the time when it does not."""
        for reply in replies:
            if isinstance(reply, Answer) and reply.version:
                self._releases.learn(source.name, reply.version)


def _of_version(version: str, source: ModelSource, reply: Reply) -> Reply:
    """A pinned reply, unless it is another version's after all."""
    if isinstance(reply, Answer) and reply.version != version:
        return broken_promise(source, f"answered as {reply.version}, not as {version}")
    return reply


def _of_the_model(error: VisionmeshError) -> VisionmeshError:
    """Why a whole call failed; never the fault of an image, for which there are outcomes.

    Moderation has checked the request by the contract's rules: a model that refuses it nevertheless
    is another release of the mesh, and says nothing about any image.
    """
    if isinstance(error, errors.InvalidArgument | errors.ImageNotFound):
        return errors.Internal("internal error")
    return error
