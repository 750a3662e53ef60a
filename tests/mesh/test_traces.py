"""One request, one trace: on a whole mesh, as a collector gets it from every process."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services import catalog
from services.moderation.settings import PACKAGED_POLICIES
from tests.support.collector import Span, collector
from tests.support.graph import ask, document, get
from tests.support.photos import jpeg
from tests.support.traces import ENVOY, Trace, Traced, check_call, check_http, has_edges, stopped
from tests.support.whole import Answer, until, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = [process.name for process in catalog.MODELS]
RELEASE = "/v1/releases/current"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    policies = {"VISIONMESH_POLICIES_DIR": str(PACKAGED_POLICIES)}
    async with collector() as collected:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in collected.environment.items():
                environment.setenv(name, value)
            async with world(
                tmp_path_factory.mktemp("mesh"), replica_env={("moderation", 0): policies}
            ) as running:
                yield Traced(running, collected)


async def test_a_moderation_is_one_trace(mesh: Traced):
    """A photo's bytes in, a verdict out: each call that made it is in its trace, in its place."""
    answer = await mesh.world.call(
        "POST", "/v1/moderations", data=jpeg(640, 480, seed=1), content_type="image/jpeg"
    )
    assert answer.status == 200
    expected = {("rest", "images"), ("rest", "moderation"), *(("moderation", m) for m in MODELS)}
    trace = await mesh.trace(answer, has_edges(*expected))
    check_http(trace, "POST", "/v1/moderations", 200)
    assert dict.fromkeys({*expected, (ENVOY, "rest")}, 1) == trace.edges
    check_call(trace, "rest", "images")
    moderation = check_call(trace, "rest", "moderation")
    for model in MODELS:
        server = check_call(trace, "moderation", model)
        above = trace.parent(trace.parent(server) or server)
        assert above is not None
        assert trace.parent(above) is moderation
        assert server.attributes["visionmesh.batch.size"] == 1
        results = [span for span in trace.named("result", model) if trace.parent(span) is server]
        assert [span.attributes["visionmesh.model.name"] for span in results] == [model]
        assert all(span.event_names == ["result.miss"] for span in results)
        inference = trace.named("inference", model)
        assert inference
        for span in inference:
            assert span.attributes["visionmesh.engine.name"]
            assert span.attributes["visionmesh.batch.size"] >= 1
    assert not [span for span in trace.spans if span.failed]


async def test_an_analysis_asks_each_model_once(mesh: Traced):
    """Facade and moderation ask the same at once: who comes second waits, and says for what."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=2))
    answer = await mesh.world.call("GET", f"/v1/images/{digest}/analysis")
    assert answer.status == 200
    edges = [(caller, m) for caller in ("rest", "moderation") for m in MODELS]
    trace = await mesh.trace(answer, has_edges(("rest", "moderation"), *edges))
    check_http(trace, "GET", "/v1/images/{id}/analysis", 200)
    for model in MODELS:
        answered = [check_call(trace, caller, model) for caller in ("rest", "moderation")]
        (result,) = [
            span for span in trace.named("result", model) if trace.parent(span) in answered
        ]
        (other,) = [span for span in answered if span is not trace.parent(result)]
        if other.event_names == ["result.joined"]:
            assert other.links == [(result.trace_id, result.span_id)]
        else:
            assert other.events == [("result.hit", {"visionmesh.result.tier": "memory"})]


async def test_a_hit_at_the_edge_is_one_span(mesh: Traced):
    """What Envoy answers from its cache has a trace of its own, and nobody else in it."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=3))
    current = await mesh.world.call("GET", RELEASE)
    path = f"/v1/images/{digest}/nsfw?release={current.json['release']}"
    first, second = [await mesh.world.call("GET", path) for _ in range(2)]
    assert first.body == second.body
    made = await mesh.trace(first, has_edges(("rest", "nsfw")))
    check_http(made, "GET", "/v1/images/{id}/nsfw", 200)
    check_call(made, "rest", "nsfw")
    hit = await mesh.trace(second, lambda trace: trace.spans)
    assert [(span.service, span.parent_id) for span in hit.spans] == [(ENVOY, "")]
    assert hit.spans[0].trace_id != made.spans[0].trace_id


async def test_a_revalidation_asks_no_model(mesh: Traced):
    """What is revalidated is one request to the facade, which answers 304, below Envoy's span."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=4))
    path = f"/v1/images/{digest}/nsfw"
    await mesh.world.call("GET", path)
    again = await mesh.world.call("GET", path)
    assert again.status == 200
    trace = await mesh.trace(again, has_edges())
    check_http(trace, "GET", "/v1/images/{id}/nsfw", 304)
    assert trace.edges == {(ENVOY, "rest"): 1}


async def test_a_stored_result_is_a_short_trace(mesh: Traced):
    """A result that the model's process still has is found by it, and nothing is inferred."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=5))
    await mesh.world.call("GET", f"/v1/images/{digest}/nsfw")
    answer = await mesh.world.call("GET", f"/v1/images/{digest}/nsfw?fields=imageId")
    trace = await mesh.trace(answer, has_edges(("rest", "nsfw")))
    server = check_call(trace, "rest", "nsfw")
    assert server.events == [("result.hit", {"visionmesh.result.tier": "memory"})]
    assert [span.name for span in trace.of("nsfw")] == [server.name]


async def test_coalesced_requests(mesh: Traced):
    """Of two that ask for one URL at once one asks the facade; the other waits in Envoy."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=6))
    path = f"/v1/images/{digest}/nsfw"
    with stopped(mesh, "nsfw"):
        asked = [asyncio.create_task(mesh.world.call("GET", path)) for _ in range(2)]
        await until(lambda: _active(mesh, 2), "two requests in flight")
    answers = await asyncio.gather(*asked)
    assert answers[0].body == answers[1].body
    ids = {answer.headers["x-trace-id"] for answer in answers}
    edge = {(one, ENVOY) for one in ids}
    origin = {(one, "rest") for one in ids}

    def whole(spans: list[Span]) -> bool:
        seen = {(span.trace_id, span.service) for span in spans}
        return seen >= edge and bool(seen & origin)

    spans = await mesh.collector.until(whole, "both requests, and the one to the facade")
    (leader,) = {span.trace_id for span in spans if span.trace_id in ids and span.service == "rest"}
    (answer,) = [one for one in answers if one.headers["x-trace-id"] == leader]
    await mesh.trace(answer, has_edges(("rest", "nsfw")))
    (follower,) = ids - {leader}
    assert [(s.service, s.parent_id) for s in mesh.collector.of_trace(follower)] == [(ENVOY, "")]


async def test_joined_requests_link_to_what_they_wait_for(mesh: Traced):
    """Two different requests that need one result at once: one makes it, and the other's trace
    leads there."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=7))
    before = mesh.world.requests_to("ocr")
    paths = [f"/v1/images/{digest}/ocr{query}" for query in ("", "?fields=imageId")]
    with stopped(mesh, "ocr"):
        asked = [asyncio.create_task(mesh.world.call("GET", path)) for path in paths]
        await until(lambda: _true(mesh.world.requests_to("ocr") == before + 2), "two calls")
    answers = await asyncio.gather(*asked)
    traces = [await mesh.trace(one, has_edges(("rest", "ocr"))) for one in answers]
    servers = [check_call(trace, "rest", "ocr") for trace in traces]
    (result,) = [span for trace in traces for span in trace.named("result", "ocr")]
    (joined,) = [server for server in servers if server.trace_id != result.trace_id]
    assert joined.event_names == ["result.joined"]
    assert joined.links == [(result.trace_id, result.span_id)]


async def test_a_failed_model_is_a_failed_span(mesh: Traced):
    """A model that does not answer in time: the call is marked as failed, and so is the answer."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=8))
    with stopped(mesh, "logo"):
        answer = await mesh.world.call(
            "GET", f"/v1/images/{digest}/logo", x_request_timeout_ms="700"
        )
    assert answer.status == 504
    trace = await mesh.trace(answer, lambda trace: has_edges()(trace) and trace.of("rest")[1:])
    server = check_http(trace, "GET", "/v1/images/{id}/logo", 504)
    assert answer.json["traceId"] == server.trace_id
    assert server.failed
    assert server.attributes["error.type"] == "504"
    (client,) = [span for span in trace.of("rest") if span.kind == "client"]
    assert client.failed
    assert client.attributes["error.type"] == "DEADLINE_EXCEEDED"


QUERY = """
query Everything($id: ID!) {
  image(id: $id) {
    width
    nsfw { score }
    detection { detections { label } }
    all: detection(minScore: 0) { detections { score } }
    ocr { text }
    logo { logos { brand } }
    moderation { isCompliant }
  }
}
"""


async def test_a_query_is_one_trace(mesh: Traced):
    """One GraphQL query: gateway, one request a subgraph, and what each of them asks."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=10))
    answer = await ask(mesh.world, QUERY, id=digest)
    assert answer.places == {}
    asked = ["images", *MODELS, "moderation"]
    expected = {
        (ENVOY, "gateway"),
        *(("subgraphs", m) for m in (*MODELS, "moderation")),
        *(("moderation", m) for m in MODELS),
    }
    trace = await mesh.trace(answer, lambda t: t.edges.keys() >= expected and t.of("gateway")[7:])
    (root,) = trace.roots
    assert (root.service, root.name, root.parent_id) == (ENVOY, "edge gateway", "")
    (request,) = [span for span in trace.of("gateway") if span.kind == "server"]
    assert trace.parent(request) is root
    assert request.name == "POST /graphql"
    assert request.attributes["http.response.status_code"] == 200
    (query,) = trace.named("query", "gateway")
    assert trace.parent(query) is request
    assert query.attributes == {
        "graphql.operation.type": "query",
        "visionmesh.document.hash": hashlib.sha256(QUERY.encode()).hexdigest(),
    }
    calls = [span for span in trace.of("gateway") if span.kind == "client"]
    assert sorted(span.name for span in calls) == sorted(f"POST /{name}" for name in asked)
    for call in calls:
        assert trace.parent(call) is query
        (served,) = [span for span in trace.of("subgraphs") if trace.parent(span) is call]
        assert (served.name, served.kind) == (call.name, "server")
        assert call.attributes["http.response.status_code"] == 200
    assert trace.edges["gateway", "subgraphs"] == len(asked)
    for model in (*MODELS, "moderation"):
        served = check_call(trace, "subgraphs", model)
        client = trace.parent(trace.parent(served) or served)
        assert client is not None
        above = trace.parent(client)
        assert above is not None
        assert above.name == f"POST /{model}"
    assert not [span for span in trace.spans if span.failed]


async def test_a_query_that_is_revalidated(mesh: Traced):
    """What Envoy keeps of a query is one look at whose the image is, and no model."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=14))
    answers = [await get(mesh.world, document("Verdict"), id=digest) for _ in range(2)]
    assert answers[0].body == answers[1].body
    expected = {(ENVOY, "gateway"): 1, ("gateway", "subgraphs"): 1}
    trace = await mesh.trace(answers[1], lambda trace: trace.edges.keys() >= expected.keys())
    assert trace.edges == expected
    (request,) = [span for span in trace.of("gateway") if span.kind == "server"]
    assert request.attributes["http.response.status_code"] == 304
    (call,) = [span for span in trace.of("gateway") if span.kind == "client"]
    assert (call.name, trace.parent(call)) == ("POST /images/standing", request)


async def test_queries_that_share_an_execution(mesh: Traced):
    """Of two equal queries at once one is executed, and the other's trace leads there."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=15))
    query = "query ($id: ID!) { image(id: $id) { nsfw { score } } }"
    with stopped(mesh, "nsfw"):
        asked = [asyncio.create_task(ask(mesh.world, query, id=digest)) for _ in range(2)]
        await until(lambda: _active(mesh, 2), "two requests in flight")
    answers = await asyncio.gather(*asked)
    assert answers[0].body == answers[1].body
    # A request's span ends after those of what it executes.
    traces = [
        await mesh.trace(answer, lambda trace: (ENVOY, "gateway") in trace.edges)
        for answer in answers
    ]
    (execution,) = [span for trace in traces for span in trace.named("query", "gateway")]
    (waiting,) = [trace for trace in traces if trace.roots[0].trace_id != execution.trace_id]
    (request,) = waiting.of("gateway")
    assert request.event_names == ["execution.joined"]
    assert request.links == [(execution.trace_id, execution.span_id)]
    assert waiting.edges == {(ENVOY, "gateway"): 1}


async def test_a_query_that_lacks_a_model(mesh: Traced):
    """A model that does not answer in time fails its call, its field and the query."""
    digest = await mesh.world.upload(jpeg(640, 480, seed=11))
    query = "query ($id: ID!) { image(id: $id) { width logo { logos { brand } } } }"
    with stopped(mesh, "logo"):
        answer = await ask(mesh.world, query, headers={"x_request_timeout_ms": "900"}, id=digest)
    assert set(answer.places.values()) == {"DEADLINE_EXCEEDED"}
    trace = await mesh.trace(answer, lambda trace: trace.named("query", "gateway"))
    (failed,) = trace.named("query", "gateway")
    assert failed.failed
    assert failed.attributes["error.type"] == "DEADLINE_EXCEEDED"


async def test_an_upload_through_the_graph(mesh: Traced):
    """A mutation with a file goes through the subgraph to images."""
    photo = jpeg(640, 480, seed=12)
    form = aiohttp.FormData()
    operations = {
        "query": "mutation ($file: Upload!) { uploadImage(file: $file) { created } }",
        "variables": {"file": None},
    }
    form.add_field("operations", json.dumps(operations))
    form.add_field("map", json.dumps({"0": ["variables.file"]}))
    form.add_field("0", photo, filename="photo.jpg", content_type="image/jpeg")
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{mesh.world.mesh.edge_url}/graphql",
            data=form,
            headers={"graphql-require-preflight": "1"},
        ) as response,
    ):
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.headers.items()},
            await response.read(),
        )
    assert "errors" not in answer.json
    trace = await mesh.trace(answer, lambda trace: ("subgraphs", "images") in trace.edges)
    check_call(trace, "subgraphs", "images")
    (mutation,) = trace.named("mutation", "gateway")
    assert trace.parent(mutation) is not None


async def test_every_edge_of_the_catalog(mesh: Traced):
    """Each process that the catalog says is called by another was seen to be, somewhere."""
    expected = {(one.name, callee) for one in catalog.PROCESSES for callee in one.calls}
    found = Trace(mesh.collector.spans).edges
    assert expected <= found.keys()


async def test_a_client_that_traces_itself(mesh: Traced):
    """A trace that a client brings is continued below its span, and not recorded unless it says
    so."""
    parent, state = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", "vendor=1"
    digest = await mesh.world.upload(jpeg(640, 480, seed=9))
    path = f"/v1/images/{digest}/detection"
    headers: dict[str, Any] = {"traceparent": parent + "0", "tracestate": state}
    unsampled = await mesh.world.call("GET", path + "?fields=imageId", **headers)
    sampled = await mesh.world.call("GET", path, **headers | {"traceparent": parent + "1"})
    assert unsampled.headers["x-trace-id"] == sampled.headers["x-trace-id"]
    trace = await mesh.trace(sampled, has_edges(("rest", "detection")))
    assert [span.parent_id for span in trace.roots] == ["00f067aa0ba902b7"]
    assert trace.edges == {(ENVOY, "rest"): 1, ("rest", "detection"): 1}
    assert {span.state for span in trace.spans} == {state}


async def test_nothing_else_is_traced(mesh: Traced):
    """Health checks, and what processes ask each other all the time, begin no traces."""
    names = {span.name for span in mesh.collector.spans}
    assert names
    assert not [
        name for name in names if "Health" in name or "GetModel" in name or "health" in name
    ]


async def _active(mesh: Traced, count: int) -> bool:
    return mesh.world.stats(r"^http\.edge\.downstream_rq_active$").popitem()[1] == count


async def _true(value: bool) -> bool:
    return value
