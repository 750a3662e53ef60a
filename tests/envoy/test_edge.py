"""The edge listener: every feature has a request that fails when it is taken out."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from mesh.proxy import write_endpoints
from tests.envoy import removals
from tests.envoy.origin import TEXT, Origin
from tests.envoy.world import HOST, Edge, Feature, edge_world
from tests.support.envoy import patience_s, until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def fresh(path: str) -> str:
    """A URL that no cache has seen."""
    return f"{path}?fresh={uuid.uuid4().hex}"


async def routing(edge: Edge) -> None:
    paths = ["/v1/images", "/openapi.json", "/docs", "/docs/viewer.js", "/healthz"]
    assert [(await edge.get(path)).status for path in paths] == [200] * 5
    assert {request.target for request in edge.origin.seen} >= set(paths)
    assert (await edge.get("/admin")).status == 404
    assert not edge.origin.of("/admin")


async def _graph_at(edge: Edge, gateway: Origin) -> None:
    write_endpoints(edge.envoy.settings.endpoints_dir, "gateway", [(HOST, gateway.port)])
    await edge.envoy.until_healthy("gateway", 1)


async def graph_routing(edge: Edge) -> None:
    gateway = edge.origins[1]
    await _graph_at(edge, gateway)
    answers = [await edge.get(fresh("/graphql")), await edge.request("POST", "/graphql")]
    assert [answer.status for answer in answers] == [200, 200]
    assert [request.method for request in gateway.of("/graphql")] == ["GET", "POST"]
    assert (await edge.get("/graphql/more")).status == 404


async def release_in_a_header(edge: Edge) -> None:
    """One URL for a release, whoever names it and where: the cache knows nothing but URLs."""
    await _graph_at(edge, edge.origin)
    key = uuid.uuid4().hex
    headers = {"visionmesh-release": "0123456789abcdef"}
    await edge.get(f"/graphql?variables={key}", headers=headers)
    await edge.get(f"/graphql?release=fedcba9876543210&variables={key}", headers=headers)
    await edge.get(f"/graphql?variables={key}", headers={"visionmesh-release": "no&release"})
    assert [request.target for request in edge.origin.of(key)] == [
        f"/graphql?release={name}&variables={key}"
        for name in ("0123456789abcdef", "fedcba9876543210", "no_release")
    ]
    assert all("visionmesh-release" not in request.headers for request in edge.origin.of(key))
    await edge.request("POST", f"/graphql?variables={key}2", headers=headers)
    (posted,) = edge.origin.of(f"{key}2")
    assert posted.headers["visionmesh-release"] == "0123456789abcdef"


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


async def times_of_a_request(edge: Edge) -> None:
    """What the origin says of one request is not said of another one that gets the same body."""
    pinned, revalidated = fresh("/v1/pinned"), fresh("/v1/revalidated")
    paths = ["/v1/text", pinned, pinned, revalidated, revalidated, revalidated]
    # The client's own names of a request and a trace are no reason to take two for one.
    headers = {"traceparent": TRACEPARENT, "x-request-id": "mine"}
    answers = [await edge.get(path, headers=headers) for path in paths]
    made, hit, asked = "made;dur=9.0", "cache;desc=hit", "asked;dur=1.0"
    said = [answer.headers.get("Server-Timing") for answer in answers]
    assert said == [made, made, hit, made, asked, asked]
    assert not any("X-Visionmesh-Made-For" in answer.headers for answer in answers)


async def internal_headers(edge: Edge) -> None:
    headers = {
        "X-Visionmesh-Tenant": "other",
        "x-visionmesh-digest": "ab",
        "X-Envoy-Max-Retries": "9",
        "X-Request-Id": "mine",
    }
    await edge.get("/v1/text", headers=headers)
    seen = edge.origin.seen[-1].headers
    named = {name: value for name, value in seen.items() if name.startswith("x-visionmesh-")}
    assert named == {"x-visionmesh-tenant": "local"}
    assert "x-envoy-max-retries" not in seen
    assert seen["x-request-id"] != "mine"


async def problems(edge: Edge) -> None:
    answer = await edge.get("/nothing")
    assert answer.media_type == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status == 404
    assert set(problem) == {"type", "title", "status", "detail", "code", "traceId"}


async def normal_path(edge: Edge) -> None:
    key = uuid.uuid4().hex
    head = f"GET /v1/a/../{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    await edge.reply(head.encode())
    assert edge.origin.of(key)[0].target == f"/v1/{key}"


async def merged_slashes(edge: Edge) -> None:
    key = uuid.uuid4().hex
    await edge.get(f"/v1//{key}")
    assert edge.origin.of(key)[0].target == f"/v1/{key}"


async def escaped_slash(edge: Edge) -> None:
    key = uuid.uuid4().hex
    head = f"GET /v1/a%2F{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await edge.reply(head.encode())).startswith(b"HTTP/1.1 400")
    assert not edge.origin.of(key)


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


async def facade_that_speaks_for_others(edge: Edge) -> None:
    addresses = [(HOST, origin.port) for origin in edge.origins]
    write_endpoints(edge.envoy.settings.endpoints_dir, "rest", addresses)
    await edge.envoy.until_healthy("rest", 2)
    for _ in range(20):
        assert (await edge.request("POST", "/v1/unavailable")).status == 503
    assert await edge.envoy.stat("cluster.rest.outlier_detection.ejections_enforced_total") == 0


async def stopped_facade(edge: Edge) -> None:
    edge.origin.healthy.clear()
    await edge.envoy.until_healthy("rest", 0)
    answer = await edge.get(fresh("/v1/text"))
    assert answer.status == 503
    edge.origin.healthy.set()
    await edge.envoy.until_healthy("rest", 1)
    assert (await edge.get(fresh("/v1/text"))).status == 200


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
    Feature("rest routing", routing, removals.routes_to("rest")),
    Feature("graph routing", graph_routing, removals.routes_to("gateway")),
    Feature("release in a header", release_in_a_header, removals.http_filter("visionmesh.edge")),
    Feature("cache hit", pure_hit, removals.http_filter("envoy.filters.http.cache")),
    Feature("cache revalidation", revalidation, removals.http_filter("envoy.filters.http.cache")),
    Feature("cache size", cache_size, removals.cache_limit, {"cache_max_bytes": 100_000}),
    Feature("gzip", gzip_coding, removals.http_filter("visionmesh.gzip")),
    Feature("brotli", brotli_coding, removals.http_filter("visionmesh.br")),
    Feature("weak etag", weak_etag, removals.weak_etags),
    Feature("canonical query", canonical_query, removals.http_filter("visionmesh.edge")),
    Feature("new trace", new_trace, removals.http_filter("visionmesh.edge")),
    Feature("continued trace", continued_trace, removals.http_filter("visionmesh.edge")),
    Feature("times of a request", times_of_a_request, removals.http_filter("visionmesh.edge")),
    Feature(
        "internal headers",
        internal_headers,
        removals.setting("edge", "early_header_mutation_extensions"),
    ),
    Feature("problems", problems, removals.setting("edge", "local_reply_config")),
    Feature("normal path", normal_path, removals.setting("edge", "normalize_path")),
    Feature("merged slashes", merged_slashes, removals.setting("edge", "merge_slashes")),
    Feature(
        "escaped slash", escaped_slash, removals.setting("edge", "path_with_escaped_slashes_action")
    ),
    Feature(
        "header names",
        header_names,
        removals.setting("edge", "common_http_protocol_options.headers_with_underscores_action"),
    ),
    Feature(
        "retry",
        retry_of_a_refused_connection,
        removals.route_setting("edge", "retry_policy"),
        {"health_interval_s": 60.0},
    ),
    Feature(
        "no ejection for 503",
        facade_that_speaks_for_others,
        removals.trust_in_the_facade,
        {"ejection_s": 60.0},
    ),
    Feature(
        "health check",
        stopped_facade,
        removals.cluster_setting("health_checks"),
        {"health_timeout_s": 0.2},
    ),
    Feature("http2", http2, removals.http2_at_the_edge),
    Feature("access log", access_log, removals.setting("edge", "access_log")),
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


async def test_the_query_of_an_upload_is_kept(tmp_path: Path):
    """Only what can be cached has its parameters sorted."""
    async with edge_world(tmp_path) as edge:
        await edge.request("POST", "/v1/images?z=1&a=1")
        assert edge.origin.seen[-1].target == "/v1/images?z=1&a=1"


async def test_the_script_meets_no_errors(tmp_path: Path):
    """Requests and answers of every shape pass the Lua filter without an error in it."""
    async with edge_world(tmp_path) as edge:
        for path in ("/v1/text", "/v1/pinned?", "/v1/pinned?&&a", "/v1/broken", "/nothing"):
            for method in ("GET", "HEAD", "POST", "DELETE"):
                await edge.request(method, path)
        await edge.reply(b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus\r\n\r\n")
        await edge.reply(b"HEAD /v1/a%2Fb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert await edge.envoy.stat("http.edge.lua.executions") > 0
        assert await edge.envoy.stat("http.edge.lua.errors") == 0
