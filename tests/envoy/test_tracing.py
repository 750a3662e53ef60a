"""Envoy's own spans, and what it tells whom it asks of them."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import InvalidOption
from mesh.proxy import ProxySettings, write_config
from mesh.tracing import Tracing
from mesh.validation import validate
from tests.envoy import removals
from tests.envoy.world import Edge, edge_world, mesh_world
from tests.support.collector import Collector, collector
from tests.support.envoy import patience_s

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


@pytest.fixture
async def collected() -> AsyncIterator[Collector]:
    async with collector() as running:
        yield running


def to(collected: Collector, ratio: float = 1.0) -> Tracing:
    host, _, port = collected.address.partition(":")
    return Tracing(host, int(port), ratio=ratio, flush_ms=50)


def told(edge: Edge, part: str) -> list[tuple[Any, ...]]:
    """Trace, span and flags that the origin was told with each request."""
    found = [TRACEPARENT.fullmatch(one.headers["traceparent"]) for one in edge.origin.of(part)]
    assert all(found)
    return [one.groups() for one in found if one]


async def check_new_traces(edge: Edge, collected: Collector) -> None:
    """A miss, a hit, a revalidation and an upload each begin a trace, and who is asked is told."""
    key = uuid.uuid4().hex
    asked = [
        ("GET", f"/v1/pinned?{key}"),
        ("GET", f"/v1/pinned?{key}"),
        ("GET", f"/v1/revalidated?{key}"),
        ("GET", f"/v1/revalidated?{key}"),
        ("POST", f"/v1/images?{key}"),
    ]
    answers = [await edge.request(method, path) for method, path in asked]
    ids = [answer.headers["X-Trace-Id"] for answer in answers]
    spans = await collected.until(lambda spans: len(spans) == len(asked), "a span a request")
    by_trace = {span.trace_id: span for span in spans}
    assert set(by_trace) == set(ids)
    assert all(span.parent_id == "" for span in spans)
    assert {span.name for span in spans} == {"edge rest"}
    missed = [ids[0], *ids[2:]]
    assert told(edge, key) == [(one, by_trace[one].span_id, "01") for one in missed]


async def test_new_traces(collected: Collector, tmp_path: Path):
    """What asks the origin is below Envoy's span, whichever way it leaves."""
    async with edge_world(tmp_path, tracing=to(collected)) as edge:
        await check_new_traces(edge, collected)
        assert await edge.envoy.stat("http.edge.lua.errors") == 0


async def test_without_the_span_s_filter(collected: Collector, tmp_path: Path):
    """The script knows Envoy's span by the filter ahead of it alone."""
    without = removals.http_filter("visionmesh.span")
    async with edge_world(tmp_path, without=without, tracing=to(collected)) as edge:
        patience_s.set(1.0)
        with pytest.raises(AssertionError):
            await check_new_traces(edge, collected)


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_client_s_trace(collected: Collector, tmp_path: Path, flags: str):
    """A trace that is brought goes on, recorded if it is recorded, whatever the ratio says."""
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "tracestate": "a=b"}
    ratio = 1.0 if flags == "00" else 0.0
    async with edge_world(tmp_path, tracing=to(collected, ratio)) as edge:
        for path in ("/v1/text", "/v1/pinned"):
            answer = await edge.get(path, headers=headers)
            assert answer.headers["X-Trace-Id"] == TRACE
        answers = told(edge, "/v1/")
        assert [(trace, flag) for trace, _, flag in answers] == [(TRACE, flags)] * 2
        assert [one.headers["tracestate"] for one in edge.origin.seen] == ["a=b"] * 2
        if flags == "01":
            spans = await collected.until(lambda spans: len(spans) == 2, "two spans")
            assert [span.parent_id for span in spans] == [SPAN] * 2
            assert [span.span_id for span in spans] == [span for _, span, _ in answers]
        else:
            await edge.get("/v1/text", headers=headers | {"traceparent": f"00-{TRACE}-{SPAN}-01"})
            await collected.until(lambda spans: len(spans) == 1, "the sampled one alone")


@pytest.mark.parametrize(
    "sent", ["garbage", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01"]
)
async def test_a_malformed_trace(collected: Collector, tmp_path: Path, sent: str):
    """What is no trace context never stays: one that is goes on in its place."""
    async with edge_world(tmp_path, tracing=to(collected)) as edge:
        answer = await edge.get("/v1/text", headers={"traceparent": sent, "tracestate": "a=b"})
        ((trace_id, _, _),) = told(edge, "/v1/text")
        assert answer.headers["X-Trace-Id"] == trace_id
        assert await edge.envoy.stat("http.edge.lua.errors") == 0


async def test_a_share_of_new_traces(collected: Collector, tmp_path: Path):
    """The script says of each request what Envoy's sampler decided, which tells nobody."""
    count = 200
    async with edge_world(tmp_path, tracing=to(collected, 0.3)) as edge:
        for number in range(count):
            await edge.get(f"/v1/pinned?{number}")
        flags = {trace: flag for trace, _, flag in told(edge, "/v1/pinned")}
        assert len(flags) == count
        recorded = {trace for trace, flag in flags.items() if flag == "01"}
        assert 0 < len(recorded) < count
        await collected.until(lambda spans: len(spans) >= len(recorded), "the recorded ones")
        assert {span.trace_id for span in collected.spans} == recorded


async def test_health_is_not_traced(collected: Collector, tmp_path: Path):
    """Whoever asks for health all the time fills nobody's store."""
    async with edge_world(tmp_path, tracing=to(collected)) as edge:
        await edge.get("/healthz")
        await edge.get("/v1/text")
        spans = await collected.until(lambda spans: spans, "a span")
        assert len(spans) == 1


async def test_the_mesh_continues_traces(collected: Collector, tmp_path: Path):
    """A call's span is below its caller's, one that is not recorded stays so, and one without a
    trace begins one."""
    async with mesh_world(tmp_path, tracing=to(collected)) as mesh:
        for flags in ("00", "01"):
            await mesh.call(metadata={"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
        spans = await collected.until(lambda spans: spans, "a span")
        assert [(span.name, span.trace_id, span.parent_id) for span in spans] == [
            ("mesh nsfw", TRACE, SPAN)
        ]
        await mesh.call()
        spans = await collected.until(lambda spans: len(spans) == 2, "another one")
        assert spans[1].parent_id == ""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, Tracing("a", 1)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://a"}, Tracing("a", 4317, tls=True)),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:2",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.05",
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            },
            Tracing("b", 2, ratio=0.05, flush_ms=100),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_TRACES_SAMPLER": "always_off"},
            Tracing("a", 1, ratio=0.0),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_SDK_DISABLED": "true"}, None),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
            None,
        ),
    ],
)
def test_variables(variables: dict[str, str], expected: Tracing | None):
    """Envoy is told what the processes read."""
    assert Tracing.of(variables) == expected


@pytest.mark.parametrize("url", ["ftp://a:1", "a:1", "http://", "http://a:99999"])
def test_no_endpoint(url: str):
    """What is no endpoint is refused before anything starts."""
    with pytest.raises(InvalidOption, match="OTLP endpoint"):
        Tracing.of({"OTEL_EXPORTER_OTLP_ENDPOINT": url})


def test_envoy_takes_tls(tmp_path: Path):
    """The real Envoy validates a collector behind TLS."""
    settings = ProxySettings.under(tmp_path)
    write_config(
        tmp_path / "envoy.yaml",
        ProxySettings(
            endpoints_dir=settings.endpoints_dir,
            access_dir=settings.access_dir,
            cache_dir=settings.cache_dir,
            access_log=settings.access_log,
            tracing=Tracing("collector.example", 443, tls=True, ratio=0.05),
        ),
    )
    validate(tmp_path / "envoy.yaml")
