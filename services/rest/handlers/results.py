"""`/v1/images/{id}/{model}`: what one model sees, for every model alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.releases.release import Release
from services.releases.releases import Releases
from services.rest import query, views
from services.rest.answers import Asked, Kind
from services.rest.deadlines import time_limit
from services.rest.model_views import ModelView, Options
from services.rest.stored import Stored
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef

_SAID: Final = (errors.InvalidArgument, errors.NotFound, errors.Unauthenticated)
"""Answers, if not the wished for. Everything else means that the model did not say anything."""


class ResultHandlers:
    """Says what a model sees, and without a model that it still sees the same."""

    def __init__(
        self, view: ModelView, mesh: MeshClient, releases: Releases, stored: Stored, kind: Kind
    ) -> None:
        self._view = view
        self._mesh = mesh
        self._releases = releases
        self._stored = stored
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/{model}"""
        asked, options = self._asked(request)
        digest = query.image_id(request.match_info["id"])
        pinned = asked.release
        async with time_limit(request):
            release = await self._releases.find(pinned) if pinned else None
            if asked.if_none_match:
                current = release or await self._releases.current()
                tag = asked.etag(digest, current.name, *_parts(options))
                if asked.known(tag):
                    await self._stored.image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag, asked.freshness(current.name))
            if release:
                outcome = await self._pinned(digest, release, options)
            else:
                outcome = await self._any(digest, options)
                release = await self._releases.made_by({self._view.name: outcome.model_version})
        view, name = self._json(outcome, release.name), release.name
        parts = (digest, name, *_parts(options))
        return asked.kept(view, *parts, freshness=asked.freshness(name))

    def _asked(self, request: web.Request) -> tuple[Asked, Options]:
        """What is asked for, and the model's own parameters in the one way to write them."""
        asked = self._kind.asked(request, *self._view.parameters, "release")
        if not self._view.parameters:
            return asked, {}
        options = self._view.options(asked.parameters)
        others = {
            name: value
            for name, value in asked.parameters.items()
            if name not in self._view.parameters
        }
        return replace(asked, parameters={**others, **options}), options

    def _json(self, outcome: Any, release: str) -> views.Json:
        return {
            "imageId": outcome.digest,
            "release": release,
            "image": views.size(outcome.image_size),
            "model": {"name": self._view.name, "version": outcome.model_version},
            self._view.name: self._view.json(outcome.result),
        }

    async def _any(self, digest: str, options: Options) -> Any:
        """What the model says; when it is lost, what its last known version once said."""
        try:
            return await self._ask(digest, options)
        except _SAID:
            raise
        except VisionmeshError:
            last = self._releases.last(self._view.name)
            if stored := await self._recall(digest, last, options):
                return stored
            raise

    async def _pinned(self, digest: str, release: Release, options: Options) -> Any:
        """What the model of a release says, or once said. Raises ResultNotFound."""
        version = release.models.get(self._view.name, "")
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
            if version != self._releases.last(self._view.name):
                raise _not_served() from None
            raise
        if outcome.model_version != version:
            raise errors.Internal("the model answered by another version than the one asked for")
        return outcome

    async def _ask(self, digest: str, options: Options, version: str = "") -> Any:
        image = ImageRef(digest=digest)
        outcomes = await self._view.ask(self._mesh, image, version, options)
        if outcomes[0].HasField("error"):
            raise status.from_status(outcomes[0].error)
        return outcomes[0]

    async def _recall(self, digest: str, version: str, options: Options) -> Any | None:
        """The stored result of a version; whose the image is comes before any result."""
        try:
            record = await self._stored.image(digest)
        except errors.StoreUnavailable:
            return None
        view = self._view
        if not version:
            return None
        data = await self._stored.result(digest, view.name, version, view.check)
        if data is None:
            return None
        outcome = view.outcome(digest=digest, model_version=version)
        outcome.image_size.width, outcome.image_size.height = record.width, record.height
        outcome.result.CopyFrom(view.select(data, options))
        return outcome


def _parts(options: Options) -> list[str]:
    """What options add to an entity tag."""
    return [f"{name}={value}" for name, value in options.items()]


def _not_served() -> errors.ResultNotFound:
    return errors.ResultNotFound(
        "not stored, and the release's model is not served any more", field="release"
    )
