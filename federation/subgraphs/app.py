"""An aiohttp application that serves subgraphs, each at its own path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from strawberry.schema.exceptions import CannotGetOperationTypeError

from federation.subgraphs import errors as told
from federation.subgraphs import requests
from federation.subgraphs.context import Context
from federation.subgraphs.representation import representation
from federation.subgraphs.requests import GraphQLRequest
from federation.subgraphs.schemas import SUBGRAPHS, Schema
from federation.subgraphs.settings import SubgraphSettings
from services.client.mesh import MeshClient
from services.errors import InvalidArgument, VisionmeshError
from services.limits import DEFAULT_BATCH_TIMEOUT_S, MAX_UPLOAD_BYTES
from services.media.objects import Objects
from services.media.store import ImageStore
from services.releases.releases import Releases
from services.rest.bodies import BodyReader
from services.rest.problems import HttpError
from services.serving import deadline, http_spans, tenancy, tracing
from services.serving.http_metrics import LEFT, HttpMetrics
from services.serving.spans import Recorder
from services.serving.tenancy import Trust

RELEASE_HEADER: Final = "x-visionmesh-release"
"""In a request the release that must have made the answer, in an answer the one that did."""

REPRESENTATION_HEADER: Final = "x-visionmesh-representation"
"""Of which code an answer is that has a release; the gateway's entity tags name it."""

TIMEOUT_HEADER: Final = "x-request-timeout-ms"

IMAGES: Final = "images"
"""The subgraph that knows whose images are."""

FORM: Final = "multipart/form-data"

_log = structlog.get_logger()


class Subgraph:
    """One subgraph: requests in, results out."""

    def __init__(
        self,
        schema: Schema,
        mesh: MeshClient,
        images: ImageStore,
        releases: Releases,
        bodies: BodyReader,
        trust: Trust,
        written_by: str,
        metrics: HttpMetrics,
        recorder: Recorder | None = None,
    ) -> None:
        self._schema = schema
        self._mesh = mesh
        self._images = images
        self._releases = releases
        self._bodies = bodies
        self._trust = trust
        self._written_by = written_by
        self._metrics = metrics
        self._recorder = recorder

    async def post(self, request: web.Request) -> web.Response:
        """POST /{subgraph}"""
        return await self._guarded(request, self._answer)

    async def standing(self, request: web.Request) -> web.Response:
        """POST /{subgraph}/standing, for the gateway's entity tags: no model is asked.

        Takes `{"ids": […]}`. An answer with a release says that the caller has all of these images,
        and that an answer about them would be that release's.
        """
        return await self._guarded(request, self._standing)

    async def _guarded(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.Response:
        began, status = time.perf_counter(), LEFT
        try:
            response = await self._traced(request, answer)
            status = response.status
        finally:
            self._metrics.ended(request, status, time.perf_counter() - began)
        return response

    async def _traced(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.Response:
        span = http_spans.enter(self._recorder, request)
        if span is None:
            return await self._told(request, answer)
        with http_spans.leaving(span) as left:
            response = await self._told(request, answer)
            left.status = response.status
        return response

    async def _told(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.Response:
        try:
            tenancy.act_for("")
            headers = request.headers
            self._trust.adopt(headers.get(tenancy.TOKEN_HEADER), headers.get(tenancy.TENANT_HEADER))
            tenancy.tenant()
            with deadline.limit(_timeout_s(request)):
                return await answer(request)
        except VisionmeshError as error:
            return _response({"errors": [told.refused(error)]}, HTTPStatus.BAD_REQUEST)
        except HttpError as error:
            refusal = InvalidArgument(error.detail, field=error.field, limit=error.limit)
            return _response({"errors": [told.refused(refusal)]}, error.status)

    async def _standing(self, request: web.Request) -> web.Response:
        async with self._bodies.read(request, requests.MAX_JSON_BYTES) as body:
            ids = requests.ids_from_json(body)
        name = request.headers.get(RELEASE_HEADER)
        release = await (self._releases.find(name) if name else self._releases.current())
        tenant = tenancy.tenant()
        await asyncio.gather(*(self._images.get(tenant, image_id) for image_id in ids))
        return self._made({}, release.name)

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.headers.get(RELEASE_HEADER)
        pinned = await self._releases.find(name) if name else None
        context = Context(self._mesh, self._images, self._releases, pinned)
        async with self._bodies.read(request, _limit(request)) as body:
            asked = await _parsed(request, body)
            try:
                result = await self._schema.execute(
                    asked.query,
                    variable_values=asked.variables,
                    context_value=context,
                    operation_name=asked.operation_name,
                )
            except CannotGetOperationTypeError as error:
                raise InvalidArgument(
                    "the document has no operation of that name, or several and none is named",
                    field="operationName",
                ) from error
        content: told.Json = {"data": result.data}
        if result.errors:
            content["errors"] = told.formatted(result.errors)
            return _response(content)
        return self._made(content, await context.release())

    def _made(self, content: told.Json, release: str) -> web.Response:
        """What a release says, or without one what no release does."""
        response = _response(content, release=release)
        if release:
            response.headers[REPRESENTATION_HEADER] = self._written_by
        return response


def create_app(
    settings: SubgraphSettings,
    mesh: MeshClient,
    objects: Objects,
    names: Iterable[str],
    recorder: Recorder | None = None,
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """The application. It uses `mesh` and does not close it; `recorder` takes its spans, and it is
    measured for the `registry`."""
    images = ImageStore(objects)
    releases = Releases(objects, mesh, ttl_s=settings.versions_ttl_s)
    bodies = BodyReader(settings.upload_budget_bytes, settings.body_timeout_s)
    trust = Trust(settings.token)
    written_by = representation()
    measured = HttpMetrics(registry)
    app = web.Application(client_max_size=0)
    for name in names:
        subgraph = Subgraph(
            SUBGRAPHS[name](), mesh, images, releases, bodies, trust, written_by, measured, recorder
        )
        app.router.add_post(f"/{name}", subgraph.post)
        if name == IMAGES:
            app.router.add_post(f"/{name}/standing", subgraph.standing)

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        ready = releases.introduced
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response({"ready": ready}, status=status)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)

    async def collaborators(_app: web.Application) -> AsyncIterator[None]:
        await releases.start()
        yield
        await releases.close()
        await images.close()

    app.cleanup_ctx.append(collaborators)
    return app


def _limit(request: web.Request) -> int:
    return MAX_UPLOAD_BYTES if request.content_type == FORM else requests.MAX_JSON_BYTES


async def _parsed(request: web.Request, body: bytes) -> GraphQLRequest:
    if request.content_type == FORM:
        content_type = request.headers[hdrs.CONTENT_TYPE]
        return await asyncio.to_thread(requests.from_form, content_type, body)
    return requests.from_json(body)


def _timeout_s(request: web.Request) -> float:
    """The seconds that are left of the request's time, as the gateway says."""
    asked = request.headers.get(TIMEOUT_HEADER, "")
    if not asked:
        return DEFAULT_BATCH_TIMEOUT_S
    if asked.isascii() and asked.isdigit() and len(asked) < 9:
        return min(DEFAULT_BATCH_TIMEOUT_S, int(asked) / 1000)
    raise InvalidArgument(
        f"{TIMEOUT_HEADER} is a whole number of milliseconds", field=TIMEOUT_HEADER
    )


def _response(
    content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, *, release: str = ""
) -> web.Response:
    headers = {
        "x-trace-id": tracing.trace_id(),
        hdrs.CACHE_CONTROL: "no-cache" if release else "no-store",
    }
    if release:
        headers[RELEASE_HEADER] = release
    return web.Response(
        body=orjson.dumps(content, default=str),
        status=status,
        headers=headers,
        content_type="application/json",
    )
