"""HTTP in front of subgraphs: one request each, or several in one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from aiohttp import hdrs, web
from strawberry.schema.exceptions import CannotGetOperationTypeError

from federation.subgraphs import errors as told
from federation.subgraphs import requests
from federation.subgraphs.context import Context
from federation.subgraphs.representation import representation
from federation.subgraphs.requests import GraphQLRequest, Part
from federation.subgraphs.schemas import Schema
from services import errors
from services.client.mesh import MeshClient
from services.errors import InvalidArgument, VisionmeshError
from services.limits import DEFAULT_BATCH_TIMEOUT_S, MAX_UPLOAD_BYTES
from services.media.store import ImageStore
from services.releases.releases import Releases
from services.rest.bodies import BodyReader
from services.rest.problems import HttpError
from services.serving import deadline, http_spans, tenancy, timing, tracing
from services.serving.http_metrics import LEFT, HttpMetrics
from services.serving.logs import answered
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


@dataclass(frozen=True)
class Reply:
    """What one request is answered: content, and the release that made all of it, if one did."""

    content: told.Json
    release: str = ""
    status: HTTPStatus = HTTPStatus.OK


class Subgraph:
    """One subgraph: what is asked of it, executed."""

    def __init__(
        self, schema: Schema, mesh: MeshClient, images: ImageStore, releases: Releases
    ) -> None:
        self._schema = schema
        self._mesh = mesh
        self._images = images
        self._releases = releases

    async def answer(self, asked: GraphQLRequest, pinned: str | None) -> Reply:
        """Raises VisionmeshError when nothing of it can be executed."""
        release = await self._releases.find(pinned) if pinned else None
        context = Context(self._mesh, self._images, self._releases, release)
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
            return Reply(content)
        return Reply(content, await context.release())


Answer = Callable[[web.Request], Awaitable[web.Response]]


class Endpoints:
    """HTTP in front of subgraphs."""

    def __init__(
        self,
        subgraphs: Mapping[str, Subgraph],
        images: ImageStore,
        releases: Releases,
        bodies: BodyReader,
        trust: Trust,
        metrics: HttpMetrics,
        recorder: Recorder | None = None,
    ) -> None:
        self._metrics = metrics
        self._subgraphs = subgraphs
        self._images = images
        self._releases = releases
        self._bodies = bodies
        self._trust = trust
        self._recorder = recorder
        self._written_by = representation()

    def add_to(self, router: web.UrlDispatcher) -> None:
        for name, subgraph in self._subgraphs.items():
            router.add_post(f"/{name}", partial(self._guarded, partial(self._one, subgraph)))
        if IMAGES in self._subgraphs:
            router.add_post(f"/{IMAGES}/standing", partial(self._guarded, self._standing))
        router.add_post("/together", self._together)

    async def _guarded(self, answer: Answer, request: web.Request) -> web.Response:
        span = http_spans.enter(self._recorder, request)
        if span is None:
            return await self._admitted(request, answer)
        with http_spans.leaving(span) as left:
            response = await self._admitted(request, answer)
            left.status = response.status
        return response

    async def _admitted(self, request: web.Request, answer: Answer) -> web.Response:
        began, status = time.perf_counter(), LEFT
        try:
            response = await self._timed(request, answer)
            status = response.status
        finally:
            self._metrics.ended(request, status, time.perf_counter() - began)
        return response

    async def _timed(self, request: web.Request, answer: Answer) -> web.Response:
        timings = timing.collect()
        response = await self._written(request, answer)
        if taken := timings.told():
            response.headers[timing.HEADER] = taken
        answered(method=request.method, path=request.path, status=response.status)
        return response

    async def _written(self, request: web.Request, answer: Answer) -> web.Response:
        """Answer for who the caller says that it asks for, in the time that it gives."""
        try:
            tenancy.act_for("")
            headers = request.headers
            self._trust.adopt(headers.get(tenancy.TOKEN_HEADER), headers.get(tenancy.TENANT_HEADER))
            tenancy.tenant()
            with deadline.limit(_timeout_s(request)):
                return await answer(request)
        except (VisionmeshError, HttpError) as error:
            return self._response(_refused(error))

    async def _one(self, subgraph: Subgraph, request: web.Request) -> web.Response:
        """POST /{subgraph}"""
        async with self._bodies.read(request, _limit(request)) as body:
            asked = await _parsed(request, body)
            return self._response(await subgraph.answer(asked, request.headers.get(RELEASE_HEADER)))

    async def _standing(self, request: web.Request) -> web.Response:
        """POST /{subgraph}/standing, for the gateway's entity tags: no model is asked.

        Takes `{"ids": […]}`. An answer with a release says that the caller has all of these images,
        and that an answer about them would be that release's.
        """
        async with self._bodies.read(request, requests.MAX_JSON_BYTES) as body:
            ids = requests.ids_from_json(body)
        name = request.headers.get(RELEASE_HEADER)
        release = await (self._releases.find(name) if name else self._releases.current())
        tenant = tenancy.tenant()
        await asyncio.gather(*(self._images.get(tenant, image_id) for image_id in ids))
        return self._response(Reply({}, release.name))

    async def _together(self, request: web.Request) -> web.Response:
        """POST /together: several requests in one, answered in their order as if each had come by
        itself, in its own trace."""
        headers = request.headers
        tracing.adopt(headers.get(tracing.HEADER), headers.get(tracing.STATE_HEADER))
        return await self._admitted(request, self._each)

    async def _each(self, request: web.Request) -> web.Response:
        async with self._bodies.read(request, requests.MAX_JSON_BYTES) as body:
            parts = requests.parts_from_json(body)
            # A task each: what is asked of one service by several goes out at the same time.
            replies = await asyncio.gather(*(self._measured(request, part) for part in parts))
        content = [
            {
                "status": reply.status,
                "release": reply.release,
                "representation": self._written_by,
                "content": reply.content,
                "seconds": round(seconds, 6),
            }
            for reply, seconds in replies
        ]
        return _json_response(content, HTTPStatus.OK, {hdrs.CACHE_CONTROL: "no-store"})

    async def _measured(self, request: web.Request, part: Part) -> tuple[Reply, float]:
        """A part's answer, and the seconds that it took."""
        began = time.perf_counter()
        reply = await self._part(request, part)
        seconds = time.perf_counter() - began
        if part.subgraph in self._subgraphs:
            self._metrics.ended_part(f"/{part.subgraph}", reply.status, seconds)
        return reply, seconds

    async def _part(self, request: web.Request, part: Part) -> Reply:
        traceparent, state = part.trace.get(tracing.HEADER), part.trace.get(tracing.STATE_HEADER)
        if self._recorder is None:
            tracing.adopt(traceparent, state)
            return await self._replied(request, part)
        span = http_spans.enter_part(
            self._recorder, request, f"/{part.subgraph}", traceparent, state
        )
        if span is None:
            return await self._replied(request, part)
        with http_spans.leaving(span) as left:
            reply = await self._replied(request, part)
            left.status = reply.status
        return reply

    async def _replied(self, request: web.Request, part: Part) -> Reply:
        try:
            subgraph = self._subgraphs.get(part.subgraph)
            if subgraph is None:
                return Reply({}, status=HTTPStatus.NOT_FOUND)
            asked = requests.from_content(part.request)
            # Whoever is late is late alone.
            async with asyncio.timeout(deadline.for_callees_s(DEFAULT_BATCH_TIMEOUT_S)):
                return await subgraph.answer(asked, request.headers.get(RELEASE_HEADER))
        except TimeoutError:
            return _refused(errors.DeadlineExceeded("no answer within the deadline"))
        except VisionmeshError as error:
            return _refused(error)
        except Exception:  # the other parts are answered nevertheless
            _log.exception("request failed", subgraph=part.subgraph)
            refusal = told.refused(errors.Internal("internal error"))
            return Reply({"errors": [refusal]}, status=HTTPStatus.INTERNAL_SERVER_ERROR)

    def _response(self, reply: Reply) -> web.Response:
        headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-cache" if reply.release else "no-store"}
        if reply.release:
            headers[RELEASE_HEADER] = reply.release
            headers[REPRESENTATION_HEADER] = self._written_by
        return _json_response(reply.content, reply.status, headers)


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


def _refused(error: VisionmeshError | HttpError) -> Reply:
    """The answer to what was not executed at all."""
    if isinstance(error, VisionmeshError):
        return Reply({"errors": [told.refused(error)]}, status=HTTPStatus.BAD_REQUEST)
    refusal = InvalidArgument(error.detail, field=error.field, limit=error.limit)
    return Reply({"errors": [told.refused(refusal)]}, status=HTTPStatus(error.status))


def _json_response(content: Any, status: HTTPStatus, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=orjson.dumps(content, default=str),
        status=status,
        headers={"x-trace-id": tracing.trace_id(), **headers},
        content_type="application/json",
    )
