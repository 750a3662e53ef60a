"""Envoy's own replies at the edge are problems like everybody else's."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.edge_problems import PROBLEMS
from mesh.proxy import write_endpoints
from services.limits import MAX_PREDICT_BYTES, MAX_UPLOAD_BYTES
from services.rest.problems import KINDS, TYPE_PREFIX
from tests.envoy.world import Answer, Edge, edge_world


async def nothing_there(edge: Edge) -> Answer:
    return await edge.get("/nothing")


async def too_large(edge: Edge) -> Answer:
    return await edge.request("POST", "/v1/images", data=io.BytesIO(bytes(MAX_UPLOAD_BYTES + 1)))


async def too_large_without_a_length(edge: Edge) -> Answer:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_UPLOAD_BYTES // 1_000_000 + 1):
            yield bytes(1_000_000)

    return await edge.request("POST", "/v1/images", data=chunks())


async def forbidden_path(edge: Edge) -> Answer:
    return await edge.get("/v1/a%5Cb")


async def hung_up(edge: Edge) -> Answer:
    return await edge.request("POST", "/v1/broken")


async def hung_up_on_a_miss(edge: Edge) -> Answer:
    return await edge.get("/v1/broken")


async def nobody_there(edge: Edge) -> Answer:
    write_endpoints(edge.envoy.settings.endpoints_dir, "rest", [])
    await edge.envoy.until_stat("cluster.rest.membership_total", lambda count: count == 0)
    return await edge.request("POST", "/v1/images")


async def nobody_there_on_a_miss(edge: Edge) -> Answer:
    await nobody_there(edge)
    return await edge.get("/v1/images")


async def slow(edge: Edge) -> Answer:
    return await edge.request("POST", "/v1/slow")


async def slow_on_a_miss(edge: Edge) -> Answer:
    return await edge.get("/v1/slow")


CASES: list[tuple[Callable[[Edge], Awaitable[Answer]], int]] = [
    (nothing_there, 404),
    (too_large, 413),
    (too_large_without_a_length, 413),
    (forbidden_path, 400),
    (hung_up, 503),
    (hung_up_on_a_miss, 503),
    (nobody_there, 503),
    (nobody_there_on_a_miss, 503),
    (slow, 504),
    (slow_on_a_miss, 504),
]


@pytest.mark.parametrize(("ask", "status"), CASES, ids=[ask.__name__ for ask, _ in CASES])
async def test_reply_is_a_problem(
    ask: Callable[[Edge], Awaitable[Answer]], status: int, tmp_path: Path
):
    """The reply has the status, names the trace in body and header, and is not to be stored."""
    async with edge_world(tmp_path, response_timeout_s=0.3) as edge:
        answer = await ask(edge)
    assert (answer.status, answer.media_type) == (status, "application/problem+json")
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["type"] == "urn:visionmesh:problem:" + problem["code"].lower().replace("_", "-")
    assert problem["title"]
    assert problem["detail"]
    assert answer.headers.getall("X-Trace-Id") == [problem["traceId"]]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers.getall("Retry-After", []) == (["1"] if status == 503 else [])


@pytest.mark.parametrize("announced", [True, False])
async def test_batches_have_a_limit_of_their_own(tmp_path: Path, announced: bool):
    """A body of `:predict` may be as large as its base64 needs, and not larger."""

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 1_000_000):
            yield bytes(min(1_000_000, size - start))

    def body(size: int) -> Any:
        return io.BytesIO(bytes(size)) if announced else chunks(size)

    path = "/v1/models/nsfw:predict"
    async with edge_world(tmp_path) as edge:
        taken = await edge.request("POST", path, data=body(MAX_PREDICT_BYTES))
        refused = await edge.request("POST", path, data=body(MAX_PREDICT_BYTES + 1))
        assert len(edge.origin.of(path)) == 1
    assert taken.status != 413
    assert (refused.status, refused.media_type) == (413, "application/problem+json")
    assert json.loads(refused.body)["limit"] == f"{MAX_PREDICT_BYTES} bytes"


EARLY = {
    431: b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    400: b"GET /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n",
    408: b"GET /v1/x HTTP/1.1\r\nHo",
    426: b"GET /v1/x HTTP/1.0\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("status", EARLY)
async def test_reply_before_there_is_a_request(status: int, tmp_path: Path):
    """What never was a request gets a problem too, with a trace id of its own."""
    async with edge_world(tmp_path, request_headers_timeout_s=0.3) as edge:
        answer = await edge.reply(EARLY[status])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert b"content-type: application/problem+json" in head.lower()
    problem = json.loads(body)
    assert problem["status"] == status
    assert re.fullmatch("[0-9a-f]{32}", problem["traceId"])
    assert f"x-trace-id: {problem['traceId']}\r".encode() in head + b"\r"


def test_replies_share_the_words_of_the_facade():
    """A code that the facade has too has the same status and title there."""
    of_the_facade = {error.code: kind for error, kind in KINDS.items()}
    shared = [problem for problem in PROBLEMS if problem.code in of_the_facade]
    assert {problem.code for problem in shared} >= {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"}
    for problem in shared:
        kind = of_the_facade[problem.code]
        assert (problem.status, problem.title) == (kind.status, kind.title)
        assert str(problem.members["type"]).startswith(TYPE_PREFIX)
