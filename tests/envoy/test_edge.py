"""The edge listener: every feature has a request that fails when it is taken out."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from mesh.proxy import write_endpoints
from services.limits import MAX_UPLOAD_BYTES
from tests.envoy.origin import TEXT
from tests.envoy.world import HOST, Edge, Feature, edge_world
from tests.support.envoy import Config, patience_s, until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def fresh(path: str) -> str:
    """A URL that no cache has seen."""
    return f"{path}?fresh={uuid.uuid4().hex}"


# What is taken out.


def manager(config: Config) -> Config:
    """The edge's HTTP connection manager."""
    listener = next(
        entry for entry in config["static_resources"]["listeners"] if entry["name"] == "edge"
    )
    found: Config = listener["filter_chains"][0]["filters"][-1]["typed_config"]
    return found


def without(*keys: str):
    """Takes settings out of the connection manager, by their dotted names."""

    def remove(config: Config) -> None:
        for key in keys:
            *path, last = key.split(".")
            node = manager(config)
            for part in path:
                node = node[part]
            del node[last]

    return remove


def without_filter(prefix: str):
    """Takes the HTTP filters out whose names begin with `prefix`."""

    def remove(config: Config) -> None:
        filters = manager(config)["http_filters"]
        kept = [entry for entry in filters if not entry["name"].startswith(prefix)]
        assert len(kept) < len(filters)
        filters[:] = kept

    return remove


def without_route_part(key: str):
    """Takes one setting out of every route that has it."""

    def remove(config: Config) -> None:
        for route in manager(config)["route_config"]["virtual_hosts"][0]["routes"]:
            route["route"].pop(key, None)

    return remove


def without_routes(config: Config) -> None:
    manager(config)["route_config"]["virtual_hosts"][0]["routes"] = []


def without_connection_limit(config: Config) -> None:
    for listener in config["static_resources"]["listeners"]:
        filters = listener["filter_chains"][0]["filters"]
        filters[:] = [entry for entry in filters if "connection_limit" not in entry["name"]]


def without_cache_limit(config: Config) -> None:
    cache = next(f for f in manager(config)["http_filters"] if "cache" in f["name"])
    del cache["typed_config"]["typed_config"]["max_cache_size_bytes"]


def without_weak_etags(config: Config) -> None:
    for entry in manager(config)["http_filters"]:
        entry["typed_config"].get("response_direction_config", {}).pop(
            "weaken_etag_on_compress", None
        )


def without_overload_manager(config: Config) -> None:
    del config["overload_manager"]


def without_http2(config: Config) -> None:
    manager(config)["codec_type"] = "HTTP1"


def without_health_checks(config: Config) -> None:
    for cluster in config["static_resources"]["clusters"]:
        del cluster["health_checks"]


# What is asserted.


async def routing(edge: Edge) -> None:
    paths = ["/v1/images", "/openapi.json", "/docs", "/docs/viewer.js", "/healthz"]
    assert [(await edge.get(path)).status for path in paths] == [200] * 5
    assert {request.target for request in edge.origin.seen} >= set(paths)
    assert (await edge.get("/admin")).status == 404
    assert not edge.origin.of("/admin")


async def pure_hit(edge: Edge) -> None:
    path = fresh("/v1/pinned")
    first, second = await edge.get(path), await edge.get(path)
    assert first.body == second.body == TEXT.encode()
    assert len(edge.origin.of(path)) == 1


async def revalidation(edge: Edge) -> None:
    path = fresh("/v1/revalidated")
    await edge.get(path)
    second = await edge.get(path)
    assert (second.status, second.body) == (200, TEXT.encode())
    assert [request.headers.get("if-none-match") for request in edge.origin.of(path)] == [
        None,
        '"one"',
    ]


async def cache_size(edge: Edge) -> None:
    directory, limit = edge.envoy.settings.cache_dir, edge.envoy.settings.cache_max_bytes

    async def held() -> bool:
        return 0 < sum(_sizes(directory)) <= limit

    for _ in range(50):
        await edge.get(fresh("/v1/pinned"))
    await until(held, "a cache below its limit")


def _sizes(directory: Path) -> Iterator[int]:
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # evicted just now
            yield path.stat().st_size


async def gzip_coding(edge: Edge) -> None:
    answer = await edge.get("/v1/text", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get("Content-Encoding") == "gzip"
    assert gzip.decompress(answer.body) == TEXT.encode()
    assert "accept-encoding" not in edge.origin.seen[-1].headers


async def brotli_coding(edge: Edge) -> None:
    answer = await edge.get("/v1/text", headers={"Accept-Encoding": "gzip, br"})
    assert answer.headers.get("Content-Encoding") == "br"
    assert len(answer.body) < len(TEXT) / 4


async def weak_etag(edge: Edge) -> None:
    answer = await edge.get("/v1/text", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get("ETag") == 'W/"one"'


async def canonical_query(edge: Edge) -> None:
    key = uuid.uuid4().hex
    await edge.get(f"/v1/pinned?z={key}&a=1&b=2&a=1&")
    await edge.get(f"/v1/pinned?b=2&z={key}&a=1")
    assert [request.target for request in edge.origin.of(key)] == [f"/v1/pinned?a=1&b=2&z={key}"]


async def query_of_a_post_is_kept(edge: Edge) -> None:
    key = uuid.uuid4().hex
    await edge.request("POST", f"/v1/images?z={key}&a=1")
    assert edge.origin.of(key)[0].target == f"/v1/images?z={key}&a=1"


async def new_trace(edge: Edge) -> None:
    path = fresh("/v1/pinned")
    answers = [await edge.get(path), await edge.get(path), await edge.get("/nothing")]
    ids = [answer.headers.get("X-Trace-Id", "") for answer in answers]
    assert all(re.fullmatch("[0-9a-f]{32}", trace_id) for trace_id in ids)
    assert len(set(ids)) == 3
    traceparent = edge.origin.of(path)[0].headers.get("traceparent", "")
    assert re.fullmatch(f"00-{ids[0]}-[0-9a-f]{{16}}-01", traceparent)
    assert json.loads(answers[2].body)["traceId"] == ids[2]


async def continued_trace(edge: Edge) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "a=b"}
    answer = await edge.get("/v1/text", headers=headers)
    assert answer.headers.get("X-Trace-Id") == TRACEPARENT.split("-")[1]
    assert edge.origin.seen[-1].headers["traceparent"] == TRACEPARENT
    assert edge.origin.seen[-1].headers["tracestate"] == "a=b"


async def internal_headers(edge: Edge) -> None:
    headers = {
        "X-Visionmesh-Tenant": "other",
        "x-visionmesh-digest": "ab",
        "X-Envoy-Max-Retries": "9",
        "X-Request-Id": "mine",
    }
    await edge.get("/v1/text", headers=headers)
    seen = edge.origin.seen[-1].headers
    assert not [name for name in seen if name.startswith("x-visionmesh-")]
    assert "x-envoy-max-retries" not in seen
    assert seen["x-request-id"] != "mine"


async def announced_upload(edge: Edge) -> None:
    path = fresh("/v1/images")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_UPLOAD_BYTES + 1}\r\n\r\n"
    answer = await edge.reply(head.encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert not edge.origin.of(path)


async def chunked_upload(edge: Edge) -> None:
    path = fresh("/v1/images")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_UPLOAD_BYTES // 1_000_000 + 1):
            yield bytes(1_000_000)

    answer = await edge.request("POST", path, data=chunks())
    assert answer.status == 413
    assert not edge.origin.of(path)


async def slow_body(edge: Edge) -> None:
    head = b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nslow"
    assert (await edge.reply(head)).startswith(b"HTTP/1.1 408")


async def slow_headers(edge: Edge) -> None:
    assert b" 408 " in (await edge.reply(b"GET /v1/text HTTP/1.1\r\nHos")).split(b"\r\n")[0]


async def idle_connection(edge: Edge) -> None:
    answer = await edge.until_closed(b"GET /v1/text HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def slow_reader(edge: Edge) -> None:
    async with edge.connection(b"GET /v1/large HTTP/1.1\r\nHost: x\r\n\r\n") as reader:
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await edge.envoy.until_stat("http.edge.downstream_rq_idle_timeout", lambda n: n == 1)


async def slow_origin(edge: Edge) -> None:
    try:
        async with asyncio.timeout(patience_s.get()):
            answer = await edge.request("POST", "/v1/slow")
    except TimeoutError:
        raise AssertionError("no answer") from None
    assert answer.status == 504
    assert json.loads(answer.body)["title"] == "Gateway Timeout"


async def slow_origin_of_a_miss(edge: Edge) -> None:
    try:
        async with asyncio.timeout(patience_s.get()):
            answer = await edge.get(fresh("/v1/slow"))
    except TimeoutError:
        raise AssertionError("no answer") from None
    assert answer.status == 504


async def connection_limit(edge: Edge) -> None:
    request = b"GET /v1/text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(edge.connection())
        await edge.envoy.until_stat("http.edge.downstream_cx_active", lambda count: count == 3)
        assert await edge.reply(request) == b""

    async def admitted() -> bool:
        return (await edge.reply(request)).startswith(b"HTTP/1.1 200")

    await until(admitted, "a place for a new connection")


async def problems(edge: Edge) -> None:
    answer = await edge.get("/nothing")
    assert answer.media_type == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status == 404
    assert set(problem) == {"type", "title", "status", "detail", "traceId"}


async def normal_path(edge: Edge) -> None:
    key = uuid.uuid4().hex
    head = f"GET /v1/a/../{key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    await edge.reply(head.encode())
    assert edge.origin.of(key)[0].target == f"/v1/{key}"


async def merged_slashes(edge: Edge) -> None:
    key = uuid.uuid4().hex
    await edge.get(f"/v1//{key}")
    assert edge.origin.of(key)[0].target == f"/v1/{key}"


async def escaped_slash(edge: Edge) -> None:
    key = uuid.uuid4().hex
    head = f"GET /v1/a%2F{key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await edge.reply(head.encode())).startswith(b"HTTP/1.1 400")
    assert not edge.origin.of(key)


async def header_bytes(edge: Edge) -> None:
    answer = await edge.get("/v1/text", headers={f"X-{n}": "x" * 4000 for n in range(10)})
    assert answer.status == 431


async def header_names(edge: Edge) -> None:
    await edge.get("/v1/text", headers={"X_Visionmesh_Tenant": "other"})
    assert "x_visionmesh_tenant" not in edge.origin.seen[-1].headers


async def retry_of_a_refused_connection(edge: Edge) -> None:
    addresses = [(HOST, origin.port) for origin in edge.origins]
    write_endpoints(edge.envoy.settings.endpoints_dir, "rest", addresses)
    await edge.envoy.until_healthy("rest", 2)
    await edge.origins[1].stop()
    answers = [await edge.request("POST", "/v1/images") for _ in range(12)]
    assert {answer.status for answer in answers} == {200}
    assert await edge.envoy.stat("cluster.rest.upstream_rq_retry_success") > 0


async def stopped_facade(edge: Edge) -> None:
    edge.origin.healthy.clear()
    await edge.envoy.until_healthy("rest", 0)
    answer = await edge.get(fresh("/v1/text"))
    assert answer.status == 503
    edge.origin.healthy.set()
    await edge.envoy.until_healthy("rest", 1)
    assert (await edge.get(fresh("/v1/text"))).status == 200


async def heap_limit(edge: Edge) -> None:
    async def refused() -> bool:
        answer = await edge.get("/v1/text")
        return answer.status == 503 and answer.media_type == "application/problem+json"

    await until(refused, "a refusal for want of memory")


async def http2(edge: Edge) -> None:
    settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    async with edge.connection(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings) as reader:
        frame = await reader.read(9)
    assert frame[3:5] == bytes([4, 0]), "not a SETTINGS frame"


async def access_log(edge: Edge) -> None:
    answer = await edge.get(fresh("/v1/text"))

    async def logged() -> bool:
        path = edge.envoy.settings.access_log
        return path.exists() and answer.headers["X-Trace-Id"] in path.read_text()

    await until(logged, "a line with the trace id")


FEATURES = [
    Feature("rest routing", routing, without_routes),
    Feature("cache hit", pure_hit, without_filter("envoy.filters.http.cache")),
    Feature("cache revalidation", revalidation, without_filter("envoy.filters.http.cache")),
    Feature("cache size", cache_size, without_cache_limit, {"cache_max_bytes": 100_000}),
    Feature("gzip", gzip_coding, without_filter("visionmesh.gzip")),
    Feature("brotli", brotli_coding, without_filter("visionmesh.br")),
    Feature("weak etag", weak_etag, without_weak_etags),
    Feature("canonical query", canonical_query, without_filter("visionmesh.edge")),
    Feature("new trace", new_trace, without_filter("visionmesh.edge")),
    Feature("continued trace", continued_trace, without_filter("visionmesh.edge")),
    Feature("internal headers", internal_headers, without("early_header_mutation_extensions")),
    Feature("announced upload", announced_upload, without_filter("visionmesh.edge")),
    Feature("chunked upload", chunked_upload, without_filter("envoy.filters.http.buffer")),
    Feature("slow body", slow_body, without("request_timeout"), {"request_timeout_s": 0.5}),
    Feature(
        "slow headers",
        slow_headers,
        without("request_headers_timeout"),
        {"request_headers_timeout_s": 0.5},
    ),
    Feature(
        "idle connection",
        idle_connection,
        without("common_http_protocol_options.idle_timeout"),
        {"idle_timeout_s": 0.5},
    ),
    Feature(
        "stream idle", slow_reader, without("stream_idle_timeout"), {"stream_idle_timeout_s": 0.5}
    ),
    Feature(
        "response timeout", slow_origin, without_route_part("timeout"), {"response_timeout_s": 0.5}
    ),
    Feature(
        "response timeout of a miss",
        slow_origin_of_a_miss,
        without_route_part("max_stream_duration"),
        {"response_timeout_s": 0.5},
    ),
    Feature("connection limit", connection_limit, without_connection_limit, {"max_connections": 3}),
    Feature("problems", problems, without("local_reply_config")),
    Feature("normal path", normal_path, without("normalize_path")),
    Feature("merged slashes", merged_slashes, without("merge_slashes")),
    Feature("escaped slash", escaped_slash, without("path_with_escaped_slashes_action")),
    Feature("header bytes", header_bytes, without("max_request_headers_kb")),
    Feature(
        "header names",
        header_names,
        without("common_http_protocol_options.headers_with_underscores_action"),
    ),
    Feature(
        "retry",
        retry_of_a_refused_connection,
        without_route_part("retry_policy"),
        {"health_interval_s": 60.0},
    ),
    Feature("health check", stopped_facade, without_health_checks, {"health_timeout_s": 0.2}),
    Feature("heap limit", heap_limit, without_overload_manager, {"max_heap_bytes": 1 << 20}),
    Feature("http2", http2, without_http2),
    Feature("access log", access_log, without("access_log")),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with edge_world(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("feature", [f for f in FEATURES if not f.settings], ids=str)
async def test_feature(feature: Feature, shared: Edge):
    """The feature does what it is there for."""
    await feature.check(shared)


@pytest.mark.parametrize("feature", [f for f in FEATURES if f.settings], ids=str)
async def test_feature_with_settings(feature: Feature, tmp_path: Path):
    """The feature does what it is there for, with limits that a test can reach."""
    async with edge_world(tmp_path, **feature.settings) as edge:
        await feature.check(edge)


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_feature(feature: Feature, tmp_path: Path):
    """Its requests fail when exactly this feature is taken out of the configuration."""
    async with edge_world(tmp_path, without=feature.remove, **feature.settings) as edge:
        patience_s.set(1.0)
        with pytest.raises(AssertionError):
            await feature.check(edge)
