"""Who is let in at the edge: every part of it has a request that fails when it is taken out."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mesh.access import Access
from mesh.proxy import write_endpoints
from tests.envoy import removals
from tests.envoy.keys import (
    ACME,
    ACME_TOO,
    BETA,
    TOKEN,
    UNKNOWN,
    Issuer,
    access,
    digest_of,
)
from tests.envoy.test_edge import fresh
from tests.envoy.world import HOST, Answer, Edge, Feature, edge_world
from tests.support.envoy import patience_s, until

CREDENTIALS = ("x-api-key", "authorization", "x-visionmesh-key")


async def known_keys(edge: Edge) -> None:
    for headers, tenant in (
        ({"X-API-Key": ACME}, "acme"),
        ({"x-api-key": ACME_TOO}, "acme"),
        ({"Authorization": f"Bearer {BETA}"}, "beta"),
        ({"Authorization": f"bearer  {BETA}"}, "beta"),
        ({"X-API-Key": ACME, "Authorization": "Basic eDp5"}, "acme"),
    ):
        assert (await edge.get("/v1/text", headers=headers)).status == 200
        seen = edge.origin.seen[-1].headers
        assert (seen["x-visionmesh-tenant"], seen["x-visionmesh-token"]) == (tenant, TOKEN)
        assert not [name for name in CREDENTIALS if name in seen]


async def no_key(edge: Edge) -> None:
    path = fresh("/v1/text")
    for headers in (
        {},
        {"X-API-Key": UNKNOWN},
        {"X-API-Key": ""},
        {"X-API-Key": ACME[:-1]},
        {"X-API-Key": "vmk_" + "x" * 20_000},
        {"X-API-Key": f"Bearer {ACME}"},
        {"Authorization": f"Basic {ACME}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"x-api-key={ACME}"},
        {"X-Visionmesh-Key": "0" * 64},
    ):
        answer = await edge.get(path, headers=headers)
        assert answer.status == 401, headers
    assert (await edge.get(f"{path}&x-api-key={ACME}&access_token={ACME}")).status == 401
    assert not edge.origin.of(path)


async def internal_headers(edge: Edge) -> None:
    theirs = {"X-Visionmesh-Tenant": "beta", "X-Visionmesh-Token": TOKEN}
    assert (await edge.get("/v1/text", headers=theirs)).status == 401
    assert (await edge.get("/v1/text", headers={**theirs, "X-API-Key": ACME})).status == 200
    assert edge.origin.seen[-1].headers["x-visionmesh-tenant"] == "acme"


async def tenants_apart(edge: Edge) -> None:
    path = fresh("/v1/pinned")
    for key in (ACME, BETA, ACME_TOO, BETA):
        assert (await edge.get(path, headers={"X-API-Key": key})).status == 200
    seen = [request.headers["x-visionmesh-tenant"] for request in edge.origin.of(path)]
    assert seen == ["acme", "beta"]


async def revoked_key(edge: Edge) -> None:
    path = fresh("/v1/pinned")
    assert (await edge.get(path, headers={"X-API-Key": ACME})).status == 200

    async def refused() -> bool:
        return (await edge.get(path, headers={"X-API-Key": ACME})).status == 401

    edge.admit(access(ACME))
    await until(refused, "a refusal of the revoked key")
    assert (await edge.get(path, headers={"X-API-Key": ACME_TOO})).status == 200
    assert len(edge.origin.of(path)) == 1


async def vary(edge: Edge) -> None:
    path = fresh("/v1/pinned")
    for key in (ACME, ACME, UNKNOWN):
        answer = await edge.get(path, headers={"X-API-Key": key})
        named = {name.strip().lower() for name in answer.headers.get("Vary", "").split(",")}
        assert named >= {"x-api-key", "authorization"}
    assert len(edge.origin.of(path)) == 1, "stored in spite of it"


async def refusal_is_a_problem(edge: Edge) -> None:
    answer = await edge.get("/v1/text")
    assert (answer.status, answer.media_type) == (401, "application/problem+json")
    problem = json.loads(answer.body)
    assert (problem["status"], problem["code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="visionmesh"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Trace-Id"] == problem["traceId"]


async def public_paths(edge: Edge) -> None:
    for path in ("/healthz", "/openapi.json", "/docs", "/docs/viewer.js", "/docs?theme=dark"):
        for headers in ({}, {"X-API-Key": UNKNOWN}, {"Authorization": "Bearer x.y.z"}):
            assert (await edge.get(path, headers=headers)).status == 200
            seen = edge.origin.seen[-1].headers
            assert "x-visionmesh-tenant" not in seen
            assert not [name for name in CREDENTIALS if name in seen]
    write_endpoints(edge.envoy.settings.endpoints_dir, "gateway", [(HOST, edge.origin.port)])
    await edge.envoy.until_healthy("gateway", 1)
    page = {"Accept": "text/html,*/*;q=0.8"}
    assert (await edge.get("/graphql", headers=page)).status == 200
    assert "x-visionmesh-tenant" not in edge.origin.seen[-1].headers
    for method, path in (("POST", "/graphql"), ("GET", "/graphql?query={brands{name}}")):
        assert (await edge.request(method, path, headers=page)).status == 401
    assert (await edge.get("/graphql")).status == 401
    for path in ("/healthz/", "/v1/healthz", "/v1/text?/docs/", "/docsx", "/docs/../v1/text"):
        assert (await edge.get(path)).status in (401, 404)


KEYED: dict[str, Any] = {"access": access()}

FEATURES = [
    Feature("keys", known_keys, removals.http_filter("visionmesh.keys"), KEYED),
    Feature("credentials", known_keys, removals.http_filter("visionmesh.credentials"), KEYED),
    Feature("tenant needed", no_key, removals.http_filter("visionmesh.tenant"), KEYED),
    Feature(
        "internal headers",
        internal_headers,
        removals.setting("edge", "early_header_mutation_extensions"),
        KEYED,
    ),
    Feature("tenants apart", tenants_apart, removals.separate_tenants, KEYED),
    Feature("revoked key", revoked_key, removals.access_files, KEYED),
    Feature("vary", vary, removals.http_filter("visionmesh.edge"), KEYED),
    Feature("problem", refusal_is_a_problem, removals.setting("edge", "local_reply_config"), KEYED),
    Feature("public paths", public_paths, removals.http_filter("visionmesh.credentials"), KEYED),
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
        patience_s.set(1.0)
        with pytest.raises((AssertionError, KeyError)):
            await feature.check(edge)


async def test_nobody_learns_why_a_key_is_refused(tmp_path: Path):
    """A wrong, a revoked and a missing key get the same answer, but for the trace."""
    async with edge_world(tmp_path, access=access(ACME)) as edge:
        sent: list[dict[str, str]] = [{}, {"X-API-Key": ACME}, {"X-API-Key": UNKNOWN}]
        sent += [{"X-API-Key": "wrong"}, {"Authorization": "Bearer x.y.z"}]
        answers = [_without_trace(await edge.get("/v1/text", headers=headers)) for headers in sent]
    assert all(answer == answers[0] for answer in answers)


def _without_trace(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    problem = json.loads(answer.body)
    del problem["traceId"]
    changing = ("x-trace-id", "date")
    headers = {name: one for name, one in answer.headers.items() if name.lower() not in changing}
    return answer.status, headers, problem


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    directory = tmp_path_factory.mktemp("open")
    async with edge_world(directory, access=Access(open=True, token=TOKEN)) as edge:
        yield edge


@pytest.mark.asyncio(loop_scope="module")
async def test_an_open_mesh_needs_no_key(open_edge: Edge):
    """Without keys everybody is the tenant `local`, whatever they show; nothing varies by a key."""
    for headers in ({}, {"X-API-Key": ACME}, {"Authorization": "Bearer x.y.z"}):
        answer = await open_edge.get("/v1/text", headers=headers)
        assert answer.status == 200
        assert "X-API-Key" not in answer.headers.get("Vary", "")
        seen = open_edge.origin.seen[-1].headers
        assert (seen["x-visionmesh-tenant"], seen["x-visionmesh-token"]) == ("local", TOKEN)
        assert not [name for name in CREDENTIALS if name in seen]


async def _named(edge: Edge, host: str) -> int:
    return (await edge.get("/v1/text", headers={"Host": host})).status


@pytest.mark.asyncio(loop_scope="module")
async def test_an_open_mesh_is_this_machines(open_edge: Edge):
    """A page whose site's name leads here by DNS gets nothing from a mesh that needs no key."""
    for host in ("127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:80", "[::1]", "[::1]:80"):
        assert await _named(open_edge, host) == 200, host
    before = len(open_edge.origin.seen)
    for host in (
        "site.example",
        "site.example:8080",
        "127.0.0.1.site.example",
        "localhost.example",
    ):
        assert await _named(open_edge, host) == 421, host
    answer = await open_edge.get("/v1/text", headers={"Host": "site.example"})
    assert json.loads(answer.body)["code"] == "MISDIRECTED_REQUEST"
    assert len(open_edge.origin.seen) == before


async def test_with_keys_any_name_is_good(tmp_path: Path):
    """A mesh that needs keys may be reached under whatever name it has."""
    async with edge_world(tmp_path, access=access()) as edge:
        sent = {"Host": "vision.example", "X-API-Key": ACME}
        assert (await edge.get("/v1/text", headers=sent)).status == 200


async def test_the_first_key_closes_the_mesh(tmp_path: Path):
    """A mesh that was open to everybody needs a key as soon as it has one, without a restart."""
    async with edge_world(tmp_path, access=Access(open=True, token=TOKEN)) as edge:
        assert (await edge.get("/v1/text")).status == 200
        edge.admit(access())

        async def closed() -> bool:
            return (await edge.get("/v1/text")).status == 401

        await until(closed, "a closed mesh")
        assert (await edge.get("/v1/text", headers={"X-API-Key": BETA})).status == 200


async def test_a_mesh_whose_keys_are_all_revoked_stays_closed(tmp_path: Path):
    """Without any key left nobody is let in."""
    async with edge_world(tmp_path, access=access(ACME, ACME_TOO, BETA)) as edge:
        for headers in ({}, {"X-API-Key": ACME}):
            assert (await edge.get("/v1/text", headers=headers)).status == 401


async def test_a_spoilt_file_lets_nobody_else_in(tmp_path: Path):
    """While a file cannot be read, who was let in still is; when there never was one, nobody is."""
    async with edge_world(tmp_path / "one", access=access()) as edge:
        directory = edge.envoy.settings.access_dir
        for name in ("keys", "credentials", "jwt"):
            draft = directory / "draft"
            draft.write_text("{")
            draft.replace(directory / f"{name}.json")
            stat = f"extension_config_discovery.http_filter.visionmesh.{name}.update_failure"
            await edge.envoy.until_stat(stat, lambda count: count > 0)
        assert (await edge.get("/v1/text", headers={"X-API-Key": ACME})).status == 200
        assert (await edge.get("/v1/text")).status == 401
    (tmp_path / "two" / "access").mkdir(parents=True)
    for name in ("keys", "credentials", "jwt"):
        (tmp_path / "two" / "access" / f"{name}.json").write_text("{")
    async with edge_world(tmp_path / "two") as edge:
        for headers in ({}, {"X-API-Key": ACME}):
            assert (await edge.get("/v1/text", headers=headers)).status == 500
        assert not edge.origin.of("/v1/text")


async def test_the_admin_interface_shows_no_secret(tmp_path: Path):
    """Everybody on this machine may ask it: it shows neither the token nor the keys' hashes."""
    async with edge_world(tmp_path, access=access()) as edge:
        shown = json.dumps(await edge.envoy.admin("/config_dump"))
        assert "visionmesh.credentials" in shown
        assert TOKEN not in shown
        assert digest_of(ACME) not in shown


async def test_another_token_holds_at_once(tmp_path: Path):
    """Envoy takes up a token that is exchanged, although it is in no file that Envoy follows."""
    async with edge_world(tmp_path / 'ä "b', access=access()) as edge:
        edge.admit(access(token="another"))

        async def taken_up() -> bool:
            await edge.get("/v1/text", headers={"X-API-Key": ACME})
            return edge.origin.seen[-1].headers["x-visionmesh-token"] == "another"

        await until(taken_up, "the other token")


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


async def _status(edge: Edge, token: str) -> int:
    return (await edge.get("/v1/text", headers={"Authorization": f"Bearer {token}"})).status


async def test_jwt_names_the_tenant(tmp_path: Path, issuer: Issuer):
    """A good JWT lets its tenant in, beside keys, and goes no further itself."""
    async with edge_world(tmp_path, access=access(jwt=issuer.setting)) as edge:
        assert await _status(edge, issuer.token()) == 200
        seen = edge.origin.seen[-1].headers
        assert (seen["x-visionmesh-tenant"], seen["host"]) == ("gamma", "gamma.visionmesh")
        assert "authorization" not in seen
        await known_keys(edge)
        await no_key(edge)


async def test_jwt_that_is_not_good(tmp_path: Path, issuer: Issuer):
    """Expired, for others, of others, unsigned, without an end, or for no possible tenant: 401."""
    stranger_folder = tmp_path / "stranger"
    stranger_folder.mkdir()
    good = issuer.token()
    head, claims, signature = good.split(".")
    refused = {
        "expired": issuer.token(exp=time.time() - 600),
        "never ends": issuer.token(exp=None),
        "other audience": issuer.token(aud="others"),
        "no audience": issuer.token(aud=None),
        "other issuer": issuer.token(iss="https://other.example"),
        "wrong signature": Issuer(stranger_folder).token(),
        "no signature": f"{head}.{claims}.",
        "other claims": f"{head}.{issuer.token(tenant='acme').split('.')[1]}.{signature}",
        "none": issuer.unsigned(),
        "no tenant": issuer.token(tenant=None),
        "path": issuer.token(tenant="../acme"),
        "capitals": issuer.token(tenant="Acme"),
        "empty": issuer.token(tenant=""),
        "long": issuer.token(tenant="a" * 64),
        "list": issuer.token(tenant=["acme"]),
        "lines": issuer.token(tenant="acme\r\nx-visionmesh-tenant: acme"),
    }
    async with edge_world(tmp_path, access=access(jwt=issuer.setting)) as edge:
        assert await _status(edge, good) == 200
        statuses = {name: await _status(edge, token) for name, token in refused.items()}
        assert statuses == dict.fromkeys(refused, 401)
        assert (await edge.get(f"/v1/text?access_token={good}")).status == 401
        assert len(edge.origin.of("/v1/text")) == 1
        assert await edge.envoy.stat("http.edge.lua.errors") == 0


async def test_without_the_jwt_filter(tmp_path: Path, issuer: Issuer):
    """It is this filter that lets a JWT's tenant in."""
    without = removals.http_filter("visionmesh.jwt")
    async with edge_world(tmp_path, access=access(jwt=issuer.setting), without=without) as edge:
        assert await _status(edge, issuer.token()) == 401


async def test_jwt_where_none_are_known(tmp_path: Path, issuer: Issuer):
    """Without an issuer no JWT is good."""
    async with edge_world(tmp_path, access=access()) as edge:
        assert await _status(edge, issuer.token()) == 401
