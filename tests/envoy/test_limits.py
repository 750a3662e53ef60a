"""Limits of the edge in bytes, time and connections: each has a request that shows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.limits import MAX_UPLOAD_BYTES
from tests.envoy import removals
from tests.envoy.world import Edge, Feature, edge_world
from tests.support.envoy import patience_s, until


async def announced_upload(edge: Edge) -> None:
    path = "/v1/images"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_UPLOAD_BYTES + 1}\r\n\r\n"
    )
    answer = await edge.reply(head.encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert not edge.origin.of(path)


async def chunked_upload(edge: Edge) -> None:
    path = "/v1/images"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_UPLOAD_BYTES // 1_000_000 + 1):
            yield bytes(1_000_000)

    answer = await edge.request("POST", path, data=chunks())
    assert answer.status == 413
    assert not edge.origin.of(path)


async def slow_body(edge: Edge) -> None:
    head = b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nslow"
    assert (await edge.reply(head)).startswith(b"HTTP/1.1 408")


async def slow_headers(edge: Edge) -> None:
    assert b" 408 " in (await edge.reply(b"GET /v1/text HTTP/1.1\r\nHos")).split(b"\r\n")[0]


async def idle_connection(edge: Edge) -> None:
    answer = await edge.until_closed(b"GET /v1/text HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def slow_reader(edge: Edge) -> None:
    async with edge.connection(b"GET /v1/large HTTP/1.1\r\nHost: localhost\r\n\r\n") as reader:
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await edge.envoy.until_stat("http.edge.downstream_rq_idle_timeout", lambda n: n == 1)


async def slow_origin(edge: Edge) -> None:
    try:
        async with asyncio.timeout(patience_s.get()):
            answer = await edge.request("POST", "/v1/slow")
    except TimeoutError:
        raise AssertionError("no answer") from None
    assert answer.status == 504
    assert json.loads(answer.body)["code"] == "DEADLINE_EXCEEDED"


async def slow_origin_of_a_miss(edge: Edge) -> None:
    try:
        async with asyncio.timeout(patience_s.get()):
            answer = await edge.get("/v1/slow")
    except TimeoutError:
        raise AssertionError("no answer") from None
    assert answer.status == 504


async def connection_limit(edge: Edge) -> None:
    request = b"GET /v1/text HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(edge.connection())
        await edge.envoy.until_stat("http.edge.downstream_cx_active", lambda count: count == 3)
        assert await edge.reply(request) == b""

    async def admitted() -> bool:
        return (await edge.reply(request)).startswith(b"HTTP/1.1 200")

    await until(admitted, "a place for a new connection")


async def header_bytes(edge: Edge) -> None:
    answer = await edge.get("/v1/text", headers={f"X-{n}": "x" * 4000 for n in range(10)})
    assert answer.status == 431


async def heap_limit(edge: Edge) -> None:
    async def refused() -> bool:
        answer = await edge.get("/v1/text")
        return answer.status == 503 and answer.media_type == "application/problem+json"

    await until(refused, "a refusal for want of memory")


FEATURES = [
    Feature("announced upload", announced_upload, removals.http_filter("visionmesh.edge")),
    Feature("chunked upload", chunked_upload, removals.http_filter("envoy.filters.http.buffer")),
    Feature(
        "slow body",
        slow_body,
        removals.setting("edge", "request_timeout"),
        {"request_timeout_s": 0.5},
    ),
    Feature(
        "slow headers",
        slow_headers,
        removals.setting("edge", "request_headers_timeout"),
        {"request_headers_timeout_s": 0.5},
    ),
    Feature(
        "idle connection",
        idle_connection,
        removals.setting("edge", "common_http_protocol_options.idle_timeout"),
        {"idle_timeout_s": 0.5},
    ),
    Feature(
        "stream idle",
        slow_reader,
        removals.setting("edge", "stream_idle_timeout"),
        {"stream_idle_timeout_s": 0.5},
    ),
    Feature(
        "response timeout",
        slow_origin,
        removals.route_setting("edge", "timeout"),
        {"response_timeout_s": 0.5},
    ),
    Feature(
        "response timeout of a miss",
        slow_origin_of_a_miss,
        removals.route_setting("edge", "max_stream_duration"),
        {"response_timeout_s": 0.5},
    ),
    Feature(
        "connection limit", connection_limit, removals.connection_limit, {"max_connections": 3}
    ),
    Feature("header bytes", header_bytes, removals.setting("edge", "max_request_headers_kb")),
    Feature("heap limit", heap_limit, removals.overload_manager, {"max_heap_bytes": 1 << 20}),
]


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_limit(feature: Feature, tmp_path: Path):
    """The limit holds."""
    async with edge_world(tmp_path, **feature.settings) as edge:
        await feature.check(edge)


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_limit(feature: Feature, tmp_path: Path):
    """Its requests fail when exactly this limit is taken out of the configuration."""
    async with edge_world(tmp_path, without=feature.remove, **feature.settings) as edge:
        patience_s.set(1.0)
        with pytest.raises(AssertionError):
            await feature.check(edge)
