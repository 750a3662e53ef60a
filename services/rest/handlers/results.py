"""`/v1/images/{id}/{model}`: what one model sees, for every model alike."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from services.names import image_id
from services.releases.releases import Releases
from services.rest import views
from services.rest.answers import Asked, Kind
from services.rest.deadlines import time_limit
from services.rest.model_results import ModelResults
from services.rest.model_views import Options, tag_parts
from services.rest.stored import Stored


class ResultHandlers:
    """Says what a model sees, and without a model that it still sees the same."""

    def __init__(
        self, results: ModelResults, releases: Releases, stored: Stored, kind: Kind
    ) -> None:
        self._results = results
        self._view = results.view
        self._releases = releases
        self._stored = stored
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/{model}"""
        asked, options = self._asked(request)
        digest = image_id(request.match_info["id"])
        pinned = asked.release
        async with time_limit(request):
            release = await self._releases.find(pinned) if pinned else None
            if asked.if_none_match:
                current = release or await self._releases.current()
                tag = asked.etag(digest, current.name, *tag_parts(options))
                if asked.known(tag):
                    await self._stored.image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag, asked.freshness(current.name))
            outcome = await self._results.get(digest, options, release)
            if not release:
                release = await self._releases.made_by({self._view.name: outcome.model_version})
        name = release.name
        view = {
            "imageId": outcome.digest,
            "release": name,
            "image": views.size(outcome.image_size),
            "model": views.model_version(self._view.name, outcome.model_version),
            self._view.name: self._view.json(outcome.result),
        }
        parts = (digest, name, *tag_parts(options))
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
