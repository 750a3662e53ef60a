"""`/v1/images/{id}/nsfw`: what the nsfw model sees."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from google.protobuf.message import DecodeError

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.releases.release import Release
from services.releases.releases import Releases
from services.rest import query, views
from services.rest.answers import Kind
from services.rest.deadlines import time_limit
from services.rest.stored import Stored
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef, ImageSize
from visionmesh.nsfw.v1.nsfw_pb2 import ClassifyOutcome, NsfwResult

MODEL: Final = "nsfw"

_SAID: Final = (errors.InvalidArgument, errors.NotFound, errors.Unauthenticated)
"""Answers, if not the wished for. Everything else means that the model did not say anything."""


class NsfwHandlers:
    """Scores images, and says without a model that a score is still the same."""

    def __init__(self, mesh: MeshClient, releases: Releases, stored: Stored, kind: Kind) -> None:
        self._mesh = mesh
        self._releases = releases
        self._stored = stored
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/nsfw"""
        asked = self._kind.asked(request, "release")
        digest = query.image_id(request.match_info["id"])
        pinned = asked.release
        async with time_limit(request):
            release = await self._releases.find(pinned) if pinned else None
            if asked.if_none_match:
                current = release or await self._releases.current()
                tag = asked.etag(digest, current.name)
                if asked.known(tag):
                    await self._stored.image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag, asked.freshness(current.name))
            outcome = await self._pinned(digest, release) if release else await self._any(digest)
            if release is None:
                release = await self._releases.made_by({MODEL: outcome.model_version})
        view, name = views.nsfw(outcome, release.name), release.name
        return asked.kept(view, digest, name, freshness=asked.freshness(name))

    async def _any(self, digest: str) -> ClassifyOutcome:
        """What the model says; when it is lost, what its last known version once said."""
        try:
            return await self._ask(digest)
        except _SAID:
            raise
        except VisionmeshError:
            if stored := await self._recall(digest, self._releases.last(MODEL)):
                return stored
            raise

    async def _pinned(self, digest: str, release: Release) -> ClassifyOutcome:
        """What the model of a release says, or once said. Raises ResultNotFound."""
        version = release.models.get(MODEL, "")
        if not version:
            await self._stored.image(digest)
            raise _not_served()
        try:
            outcome = await self._ask(digest, version)
        except _SAID:
            raise
        except VisionmeshError:
            if stored := await self._recall(digest, version):
                return stored
            if version != self._releases.last(MODEL):
                raise _not_served() from None
            raise
        if outcome.model_version != version:
            raise errors.Internal("the model answered by another version than the one asked for")
        return outcome

    async def _ask(self, digest: str, version: str = "") -> ClassifyOutcome:
        outcomes = await self._mesh.classify([ImageRef(digest=digest)], model_version=version)
        if outcomes[0].HasField("error"):
            raise status.from_status(outcomes[0].error)
        return outcomes[0]

    async def _recall(self, digest: str, version: str) -> ClassifyOutcome | None:
        """The stored result of a version; whose the image is comes before any result."""
        try:
            record = await self._stored.image(digest)
        except errors.StoreUnavailable:
            return None
        data = await self._stored.result(digest, MODEL, version, _check) if version else None
        if data is None:
            return None
        return ClassifyOutcome(
            digest=digest,
            model_version=version,
            image_size=ImageSize(width=record.width, height=record.height),
            result=NsfwResult.FromString(data),
        )


def _check(data: bytes) -> None:
    try:
        NsfwResult.FromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _not_served() -> errors.ResultNotFound:
    return errors.ResultNotFound(
        "not stored, and the release's model is not served any more", field="release"
    )
