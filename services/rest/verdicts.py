"""Verdicts on stored images, as moderation gives them, with what only the store can add."""

from __future__ import annotations

from services.client.mesh import MeshClient
from services.client.verdicts import check_made_by
from services.errors import ImageNotFound, VisionmeshError
from services.releases.release import Release
from services.rest.stored import Stored
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef, ImageSize
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome


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
            check_made_by(release, outcome.verdict)
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
