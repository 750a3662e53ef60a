"""Rate limits at the edge, and pages of other origins: each has a request that shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mesh.proxy import RateLimit
from tests.envoy import removals
from tests.envoy.keys import ACME, ACME_TOO, BETA, UNKNOWN, access
from tests.envoy.world import Answer, Edge, Feature, edge_world

ORIGIN = "https://photos.example"


async def spend(edge: Edge, key: str, path: str = "/v1/text") -> tuple[int, Answer]:
    """How many requests were answered before one was refused, and the refusal."""
    for count in range(20):
        answer = await edge.get(path, headers={"X-API-Key": key})
        if answer.status != 200:
            return count, answer
    raise AssertionError("no limit")


async def limit_per_tenant(edge: Edge) -> None:
    assert (await spend(edge, ACME))[0] == 5
    assert (await edge.get("/v1/text", headers={"X-API-Key": ACME_TOO})).status == 429
    assert (await spend(edge, BETA))[0] == 5


async def limit_of_hits(edge: Edge) -> None:
    assert (await spend(edge, ACME, "/v1/pinned"))[0] == 5
    assert len(edge.origin.of("/v1/pinned")) == 1


async def limit_of_one_tenant(edge: Edge) -> None:
    assert (await spend(edge, ACME))[0] == 2
    assert (await spend(edge, BETA))[0] == 5


async def limit_is_stated(edge: Edge) -> None:
    for key, quota, window in ((BETA, 5, 3600), (ACME, 2, 7200)):
        for used in (1, 2):
            answer = await edge.get("/v1/pinned", headers={"X-API-Key": key})
            assert answer.headers["RateLimit-Policy"] == f'"tenant";q={quota};w={window}'
            stated = re.fullmatch(r'"tenant";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
            assert stated
            assert int(stated[1]) == quota - used
            # What time has given back since then is not much of it.
            assert 0 <= used * window // quota - int(stated[2]) < 60
            assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


async def refusal_is_a_problem(edge: Edge) -> None:
    _, answer = await spend(edge, BETA)
    assert (answer.status, answer.media_type) == (429, "application/problem+json")
    problem = json.loads(answer.body)
    assert (problem["code"], problem["status"]) == ("RATE_LIMITED", 429)
    assert problem["traceId"] == answer.headers["X-Trace-Id"]
    # One request of five an hour.
    assert answer.headers["Retry-After"] == "720"
    assert answer.headers["RateLimit"].startswith('"tenant";r=0;')
    assert answer.headers["Cache-Control"] == "no-store"


async def preflight(edge: Edge) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    asked["Access-Control-Request-Headers"] = "x-api-key"
    answer = await edge.request("OPTIONS", "/v1/images", headers=asked)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"x-api-key", "authorization", "content-type", "if-none-match"} <= set(allowed)
    assert not edge.origin.seen


async def answers_to_other_origins(edge: Edge) -> None:
    for key, status in ((BETA, 200), (BETA, 200), (UNKNOWN, 401)):
        answer = await edge.get("/v1/pinned", headers={"Origin": ORIGIN, "X-API-Key": key})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed >= {"etag", "content-location", "ratelimit", "ratelimit-policy"}
        assert exposed >= {"x-trace-id", "retry-after"}
    assert len(edge.origin.of("/v1/pinned")) == 1
    answer = await edge.get(
        "/v1/pinned", headers={"Origin": "https://x.example"} | {"X-API-Key": BETA}
    )
    assert "Access-Control-Allow-Origin" not in answer.headers


async def answers_vary_by_origin(edge: Edge) -> None:
    answer = await edge.get("/v1/pinned", headers={"X-API-Key": BETA})
    assert "Origin" in ",".join(answer.headers.getall("Vary"))


LIMITED: dict[str, Any] = {"access": access(), "rate_limit": RateLimit(5, 3600)}
OVERRIDDEN: dict[str, Any] = LIMITED | {"tenant_rate_limits": {"acme": RateLimit(2, 7200)}}
SHARED: dict[str, Any] = {"access": access(), "cors_origins": (ORIGIN,)}

FILTER = "envoy.filters.http.local_ratelimit"

FEATURES = [
    Feature("limit", limit_per_tenant, removals.http_filter(FILTER), LIMITED),
    Feature("limit per tenant", limit_per_tenant, removals.rate_limit_of(""), LIMITED),
    Feature("limit of hits", limit_of_hits, removals.http_filter(FILTER), LIMITED),
    Feature("limit of one", limit_of_one_tenant, removals.rate_limit_of("acme"), OVERRIDDEN),
    Feature("headers", limit_is_stated, removals.http_filter("visionmesh.edge"), OVERRIDDEN),
    Feature("problem", refusal_is_a_problem, removals.http_filter("visionmesh.edge"), LIMITED),
    Feature("preflight", preflight, removals.http_filter("envoy.filters.http.cors"), SHARED),
    Feature(
        "other origins",
        answers_to_other_origins,
        removals.http_filter("envoy.filters.http.cors"),
        SHARED,
    ),
    Feature("vary", answers_vary_by_origin, removals.http_filter("visionmesh.edge"), SHARED),
]


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_feature(feature: Feature, tmp_path: Path):
    """The feature does what it is there for."""
    async with edge_world(tmp_path, **feature.settings) as edge:
        await feature.check(edge)
        assert await edge.envoy.stat("http.edge.lua.errors") == 0


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_feature(feature: Feature, tmp_path: Path):
    """Its requests fail when exactly this feature is taken out of the configuration."""
    async with edge_world(tmp_path, without=feature.remove, **feature.settings) as edge:
        with pytest.raises((AssertionError, KeyError)):
            await feature.check(edge)


async def test_who_has_no_tenant_is_not_counted(tmp_path: Path):
    """Health is answered whatever others have asked, and says nothing of limits."""
    async with edge_world(tmp_path, **LIMITED) as edge:
        answers = [await edge.get("/healthz") for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert not [name for name in answers[-1].headers if "ratelimit" in name.lower()]


async def test_all_origins_may_be_allowed(tmp_path: Path):
    """`*` lets pages of every origin use the edge."""
    async with edge_world(tmp_path, cors_origins=("*",)) as edge:
        answer = await edge.get("/v1/text", headers={"Origin": "https://any.example"})
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://any.example")


async def test_no_origin_is_allowed_unasked(tmp_path: Path):
    """Without being told otherwise, pages of other origins cannot read an answer."""
    async with edge_world(tmp_path) as edge:
        answer = await edge.get("/v1/text", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "RateLimit" not in answer.headers
