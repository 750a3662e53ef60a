"""Asks the models that a policy reads, all at once, and judges what they answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.limits import MAX_INLINE_BYTES
from services.moderation.converters import reply_from_proto
from services.moderation.models import ModelSource
from services.moderation.outcome import outcome_of
from services.moderation.policy import Policy
from services.moderation.types import Outcome, Reply
from visionmesh.common.v1.image_pb2 import ImageRef

_log = structlog.get_logger()


class Moderator:
    """Verdicts by running models. Inline bytes go on to the models, which check them."""

    def __init__(self, mesh: MeshClient, models: Mapping[str, ModelSource]) -> None:
        self._mesh = mesh
        self._models = models

    async def moderate(self, refs: Sequence[ImageRef], policy: Policy) -> list[Outcome]:
        """One outcome a reference, in order, before the current deadline.

        The mesh client ends each call a little before the deadline, so that a model that hangs is
        missing from verdicts that still arrive. Raises ImageTooLarge when the call carries more
        than `MAX_INLINE_BYTES` inline.
        """
        _check_inline_bytes(refs)
        replies = await asyncio.gather(
            *(self._ask(self._models[name], refs) for name in policy.models)
        )
        return [
            outcome_of(policy, ref.digest, dict(zip(policy.models, of_image, strict=True)))
            for ref, of_image in zip(refs, zip(*replies, strict=True), strict=True)
        ]

    async def _ask(self, source: ModelSource, refs: Sequence[ImageRef]) -> list[Reply]:
        """One reply a reference; a model that fails as a whole fails for every image alike."""
        try:
            outcomes = await source.ask(self._mesh, refs)
            if len(outcomes) != len(refs):
                raise errors.Internal(
                    f"model {source.name!r} gave {len(outcomes)} outcomes for {len(refs)} images"
                )
            return [
                reply_from_proto(source, ref.digest, outcome)
                for ref, outcome in zip(refs, outcomes, strict=True)
            ]
        except VisionmeshError as error:
            _log.warning("model did not answer", model=source.name, error=error.message)
            return [_of_the_model(source, error) for _ in refs]


def _of_the_model(source: ModelSource, error: VisionmeshError) -> VisionmeshError:
    """Why a whole call failed; never the fault of an image, for which there are outcomes.

    Moderation has checked the request by the contract's rules: a model that refuses it nevertheless
    is another release of the mesh, and says nothing about any image.
    """
    if isinstance(error, errors.InvalidArgument | errors.ImageNotFound):
        return errors.Internal(f"model {source.name!r} refused the call")
    return error


def _check_inline_bytes(refs: Sequence[ImageRef]) -> None:
    count = sum(len(ref.data) for ref in refs)
    if count > MAX_INLINE_BYTES:
        raise errors.ImageTooLarge(
            f"images: {count} bytes inline in one call, at most {MAX_INLINE_BYTES}",
            field="images",
            limit=f"{MAX_INLINE_BYTES} bytes",
        )
