"""`/v1/models/{model}:predict`: what a model sees in many images, in TensorFlow Serving's form."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.limits import DEFAULT_BATCH_TIMEOUT_S
from services.rest import failures, query, views
from services.rest.answers import FORGET
from services.rest.bodies import PARSE_INLINE_BYTES, BodyReader
from services.rest.deadlines import time_limit, timeout_s
from services.rest.instances import Batch, parse
from services.rest.model_views import MODEL_VIEWS, ModelView
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef


class PredictHandlers:
    """Asks a model about a batch; keeps neither its images nor its answers."""

    def __init__(self, mesh: MeshClient, bodies: BodyReader) -> None:
        self._mesh = mesh
        self._bodies = bodies
        self._views: Mapping[str, ModelView] = {view.name: view for view in MODEL_VIEWS}

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/models/{model}:predict"""
        view = self._view(request.match_info["model"])
        query.parse(request.rel_url.raw_query_string)
        timeout_s(request, DEFAULT_BATCH_TIMEOUT_S)  # refused before the body is read
        async with (
            self._bodies.json(request) as body,
            time_limit(request, most_s=DEFAULT_BATCH_TIMEOUT_S),
        ):
            batch = await _parsed(body.data)
            said = await self._ask(view, batch)
        answer = {
            batch.answer: [
                {"error": views.failure(one)} if isinstance(one, VisionmeshError) else one
                for one in said
            ]
        }
        headers = {"Content-Type": "application/json", "Cache-Control": FORGET}
        return web.Response(body=orjson.dumps(answer), headers=headers)

    def _view(self, name: str) -> ModelView:
        if name in self._views:
            return self._views[name]
        known = ", ".join(self._views)
        raise errors.ModelNotFound(f"there is no model {name!r}; there are: {known}", field="model")

    async def _ask(self, view: ModelView, batch: Batch) -> list[views.Json | VisionmeshError]:
        """What is answered for each image, or why nothing is.

        Raises what the model raised as a whole, and one error when no image has a result.
        """
        images = [item for item in batch.items if isinstance(item, ImageRef)]
        outcomes = await view.ask(self._mesh, images, "", view.options({})) if images else []
        if len(outcomes) != len(images):
            raise errors.Internal("the model has not answered for every image")
        answered = iter(outcomes)
        said = [
            _result(view, next(answered)) if isinstance(item, ImageRef) else item
            for item in batch.items
        ]
        failed = {
            f"{batch.source}[{number}]": one
            for number, one in enumerate(said)
            if isinstance(one, VisionmeshError)
        }
        if len(failed) == len(said):
            raise failures.of_all(failed)
        return said


async def _parsed(body: bytes) -> Batch:
    if len(body) <= PARSE_INLINE_BYTES:
        return parse(body)
    return await asyncio.to_thread(parse, body)


def _result(view: ModelView, outcome: Any) -> views.Json | VisionmeshError:
    if outcome.HasField("error"):
        return status.from_status(outcome.error)
    return view.json(outcome.result)
