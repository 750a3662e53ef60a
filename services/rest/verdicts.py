"""Verdicts on stored images, as moderation gives them, with what only the store can add."""

from __future__ import annotations

from typing import Final

from services import errors
from services.client.mesh import MeshClient
from services.errors import ImageNotFound, VisionmeshError
from services.releases.release import Release
from services.rest.stored import Stored
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef, ImageSize
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome, Verdict

_DETERMINED: Final = frozenset((moderation_pb2.DECISION_APPROVED, moderation_pb2.DECISION_REJECTED))


class Verdicts:
    """Asks moderation about one image."""

    def __init__(self, mesh: MeshClient, stored: Stored) -> None:
        self._mesh = mesh
        self._stored = stored

    async def give(
        self, digest: str, policy: str, release: Release | None = None
    ) -> ModerationOutcome:
        """An outcome that has a verdict, by a release when one is given.

        By digest alone: the store holds the small rendition that the models read, so the bytes need
        not travel through every hop again. Raises what moderation raised.
        """
        name = release.name if release else ""
        outcome = (await self._mesh.moderate([ImageRef(digest=digest)], policy, release=name))[0]
        if outcome.HasField("error"):
            raise status.from_status(outcome.error)
        if release:
            _check_made_by(release, outcome.verdict)
        if not outcome.image_size.width:
            await self._measure(outcome)
        return outcome

    async def _measure(self, outcome: ModerationOutcome) -> None:
        """No model looked at the image: is it there at all, and how large is it?"""
        try:
            record = await self._stored.image(outcome.digest)
        except ImageNotFound:
            raise
        except VisionmeshError:
            return  # the verdict matters more, and it says nothing in the image's favour
        outcome.image_size.CopyFrom(ImageSize(width=record.width, height=record.height))


def is_final(outcome: ModerationOutcome) -> bool:
    """Whether asking again can only give the same answer."""
    verdict = outcome.verdict
    complete = not verdict.missing and not verdict.unknown_codes and outcome.image_size.width
    return bool(complete) and verdict.decision in _DETERMINED


def _check_made_by(release: Release, verdict: Verdict) -> None:
    """Raises Internal for a verdict that is not of the release that it was asked of.

    It would be kept for a year under that release's name.
    """
    made_by = all(
        release.version(name) == version for name, version in verdict.model_versions.items()
    )
    policy = release.policies.get(verdict.policy) == verdict.policy_version
    if verdict.release != release.name or not made_by or not policy:
        raise errors.Internal("the verdict is not of the release that was asked for")
