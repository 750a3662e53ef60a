"""`/v1/models` and `/v1/policies`: what the mesh can say."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from services.errors import VisionmeshError
from services.releases.releases import Releases
from services.rest import views
from services.rest.answers import Kind
from services.rest.deadlines import time_limit


class ModelHandlers:
    """Describes models and policies."""

    def __init__(self, releases: Releases, one: Kind, many: Kind, policies: Kind) -> None:
        self._releases = releases
        self._one = one
        self._many = many
        self._policies = policies

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/models/{model}"""
        asked = self._one.asked(request)
        async with time_limit(request):
            model = await self._releases.model(request.match_info["model"])
        view = views.model(model)
        return asked.kept(view, _content(view))

    async def list_models(self, request: web.Request) -> web.Response:
        """GET /v1/models: one that does not answer is named, and does not hide the others."""
        asked = self._many.asked(request)
        models: list[views.Json] = []
        failures: list[views.Json] = []
        async with time_limit(request):
            names = self._releases.names
            answers = await asyncio.gather(*map(self._model, names))
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, VisionmeshError):
                failures.append(views.model_error(name, answer))
            else:
                models.append(answer)
        view = {"models": models, "errors": failures}
        return asked.forgotten(view) if failures else asked.kept(view, _content(view))

    async def list_policies(self, request: web.Request) -> web.Response:
        """GET /v1/policies"""
        asked = self._policies.asked(request)
        async with time_limit(request):
            policies = await self._releases.policies()
        view = {"policies": [views.policy(policy) for policy in policies]}
        return asked.kept(view, _content(view))

    async def _model(self, name: str) -> views.Json | VisionmeshError:
        try:
            return views.model(await self._releases.model(name))
        except VisionmeshError as error:
            return error


def _content(view: views.Json) -> str:
    """Descriptions have no version of their own: their tag is made of what they say."""
    return orjson.dumps(view).decode()
