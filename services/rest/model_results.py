"""What one model says of an image: now, or in a release; where it is lost, what it once said."""

from __future__ import annotations

from typing import Any, Final

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.releases.release import Release
from services.releases.releases import Releases
from services.rest.model_views import ModelView, Options
from services.rest.stored import Stored
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef

_SAID: Final = (errors.InvalidArgument, errors.NotFound, errors.Unauthenticated)
"""Answers, if not the wished for. Everything else means that the model did not say anything."""


class ModelResults:
    """One model's outcomes about stored images (docs/decisions/rest-stored-results.md)."""

    def __init__(
        self, view: ModelView, mesh: MeshClient, releases: Releases, stored: Stored
    ) -> None:
        self.view = view
        self._mesh = mesh
        self._releases = releases
        self._stored = stored

    async def get(self, digest: str, options: Options, release: Release | None = None) -> Any:
        """The outcome about an image, which has a result; of a release's version when one is given.

        Raises what the model raised, and ResultNotFound for a release that has left no result.
        """
        if release:
            return await self._pinned(digest, release, options)
        return await self._any(digest, options)

    async def _any(self, digest: str, options: Options) -> Any:
        """What the model says; when it is lost, what its last known version once said."""
        try:
            return await self._ask(digest, options)
        except _SAID:
            raise
        except VisionmeshError:
            last = await self._releases.last_version(self.view.name)
            if stored := await self._recall(digest, last, options):
                return stored
            raise

    async def _pinned(self, digest: str, release: Release, options: Options) -> Any:
        """What the model of a release says, or once said. Raises ResultNotFound."""
        version = release.version(self.view.name)
        if not version:
            await self._stored.image(digest)
            raise _not_served()
        try:
            outcome = await self._ask(digest, options, version)
        except _SAID:
            raise
        except VisionmeshError:
            if stored := await self._recall(digest, version, options):
                return stored
            if version != await self._releases.last_version(self.view.name):
                raise _not_served() from None
            raise
        if outcome.model_version != version:
            raise errors.Internal("the model answered by another version than the one asked for")
        return outcome

    async def _ask(self, digest: str, options: Options, version: str = "") -> Any:
        images = [ImageRef(digest=digest)]
        outcomes = await self.view.ask(self._mesh, images, version, options)
        if outcomes[0].HasField("error"):
            raise status.from_status(outcomes[0].error)
        return outcomes[0]

    async def _recall(self, digest: str, version: str, options: Options) -> Any | None:
        """The stored result of a version; whose the image is comes before any result."""
        try:
            record = await self._stored.image(digest)
        except errors.StoreUnavailable:
            return None
        view = self.view
        if not version:
            return None
        data = await self._stored.result(digest, view.name, version, view.check)
        if data is None:
            return None
        outcome = view.outcome(digest=digest, model_version=version)
        outcome.image_size.width, outcome.image_size.height = record.width, record.height
        outcome.result.CopyFrom(view.select(data, options))
        return outcome


def _not_served() -> errors.ResultNotFound:
    return errors.ResultNotFound(
        "not stored, and the release's model is not served any more", field="release"
    )
