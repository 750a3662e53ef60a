"""Who is let in at the mesh listener: processes of the mesh by its token, teams by their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from mesh.access import Access
from tests.envoy import removals
from tests.envoy.keys import ACME, BETA, TOKEN, UNKNOWN, Issuer, access
from tests.envoy.test_access import CREDENTIALS
from tests.envoy.world import Feature, Mesh, mesh_world
from tests.support.envoy import until

DIGEST = "ab" * 32


async def seen_by_the_replica(mesh: Mesh, **metadata: str) -> dict[str, Any]:
    """What of a call's metadata the replica saw. Raises AioRpcError."""
    sent = {name.replace("_", "-"): value for name, value in metadata.items()}
    await mesh.call(DIGEST, metadata=sent)
    return mesh.replicas[0].calls[-1]


async def refused(mesh: Mesh, **metadata: str) -> bool:
    before = len(mesh.replicas[0].calls)
    try:
        await seen_by_the_replica(mesh, **metadata)
    except grpc.aio.AioRpcError as refusal:
        how = (refusal.code(), refusal.details(), len(mesh.replicas[0].calls))
    else:
        return False
    assert how == (StatusCode.UNAUTHENTICATED, "a valid key is needed", before)
    return True


async def processes(mesh: Mesh) -> None:
    own = {"x_visionmesh_token": TOKEN}
    seen = await seen_by_the_replica(mesh, **own, x_visionmesh_tenant="beta")
    assert (seen["x-visionmesh-token"], seen["x-visionmesh-tenant"]) == (TOKEN, "beta")
    # For nobody, which is enough to ask what a model is.
    assert "x-visionmesh-tenant" not in await seen_by_the_replica(mesh, **own)


async def teams(mesh: Mesh) -> None:
    for metadata, tenant in (
        ({"x_api_key": ACME}, "acme"),
        ({"authorization": f"Bearer {BETA}"}, "beta"),
        ({"x_api_key": ACME, "x_visionmesh_tenant": "beta", "x_visionmesh_token": "x"}, "acme"),
    ):
        seen = await seen_by_the_replica(mesh, **metadata)
        assert (seen["x-visionmesh-token"], seen["x-visionmesh-tenant"]) == (TOKEN, tenant)
        assert not [name for name in CREDENTIALS if name in seen]


async def strangers(mesh: Mesh) -> None:
    assert await refused(mesh)
    assert await refused(mesh, x_api_key=UNKNOWN)
    assert await refused(mesh, x_visionmesh_tenant="acme")
    assert await refused(mesh, x_visionmesh_tenant="acme", x_visionmesh_token="guessed")
    assert await refused(mesh, x_visionmesh_tenant="acme", x_visionmesh_token=TOKEN + "x")
    assert await refused(mesh, x_visionmesh_key="0" * 64, x_visionmesh_claim="acme")


async def internal_metadata(mesh: Mesh) -> None:
    seen = await seen_by_the_replica(
        mesh, x_api_key=ACME, x_visionmesh_settled="1", x_envoy_max_retries="9"
    )
    assert {name for name in seen if name.startswith(("x-visionmesh-", "x-envoy-"))} == {
        "x-visionmesh-digest",
        "x-visionmesh-token",
        "x-visionmesh-tenant",
        "x-envoy-attempt-count",
    }


async def refusal_in_words(mesh: Mesh) -> None:
    assert await refused(mesh, x_api_key=UNKNOWN)


KEYED: dict[str, Any] = {"access": access(), "replicas": 1}


def without(name: str) -> removals.Removal:
    return removals.http_filter(f"visionmesh.{name}", "mesh")


FEATURES = [
    Feature("keys", teams, without("keys"), KEYED),
    Feature("credentials", strangers, without("credentials"), KEYED),
    Feature("internal metadata", internal_metadata, without("credentials"), KEYED),
    Feature("processes", processes, without("credentials"), KEYED),
    Feature("tenant needed", strangers, without("tenant"), KEYED),
    Feature("words", refusal_in_words, removals.setting("mesh", "local_reply_config"), KEYED),
]


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_feature(feature: Feature, tmp_path: Path):
    """The feature does what it is there for."""
    async with mesh_world(tmp_path, **feature.settings) as mesh:
        await feature.check(mesh)
        assert await mesh.envoy.stat("http.mesh.lua.errors") == 0


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_feature(feature: Feature, tmp_path: Path):
    """Its calls fail when exactly this feature is taken out of the configuration."""
    async with mesh_world(tmp_path, without=feature.remove, **feature.settings) as mesh:
        with pytest.raises((AssertionError, KeyError, grpc.aio.AioRpcError)):
            await feature.check(mesh)


async def test_an_open_mesh_believes_its_own_processes(tmp_path: Path):
    """Without keys everybody is `local`, but a process of the mesh may act for another tenant."""
    settings: dict[str, Any] = {"access": Access(open=True, token=TOKEN), "replicas": 1}
    async with mesh_world(tmp_path, **settings) as mesh:
        await processes(mesh)
        for metadata in ({}, {"x_api_key": UNKNOWN}, {"x_visionmesh_tenant": "beta"}):
            seen = await seen_by_the_replica(mesh, **metadata)
            assert (seen["x-visionmesh-token"], seen["x-visionmesh-tenant"]) == (TOKEN, "local")


async def test_a_mesh_without_a_token_believes_nobody(tmp_path: Path):
    """Where processes have no token, an empty one is not taken for theirs."""
    async with mesh_world(tmp_path, access=access(token=""), replicas=1) as mesh:
        assert await refused(mesh, x_visionmesh_tenant="acme")
        assert await refused(mesh, x_visionmesh_tenant="acme", x_visionmesh_token="")
        seen = await seen_by_the_replica(mesh, x_api_key=ACME)
        assert "x-visionmesh-token" not in seen


async def test_a_revoked_key_is_refused_while_envoy_runs(tmp_path: Path):
    """Both listeners follow the same files."""
    async with mesh_world(tmp_path, **KEYED) as mesh:
        await seen_by_the_replica(mesh, x_api_key=ACME)
        mesh.admit(access(ACME))
        await until(lambda: refused(mesh, x_api_key=ACME), "a refusal of the revoked key")
        await seen_by_the_replica(mesh, x_api_key=BETA)


async def test_jwt_is_good_for_calls(tmp_path: Path):
    """A team may show a JWT; what keys and processes show counts beside it."""
    issuer = Issuer(tmp_path)
    async with mesh_world(tmp_path, access=access(jwt=issuer.setting), replicas=1) as mesh:
        seen = await seen_by_the_replica(mesh, authorization=f"Bearer {issuer.token()}")
        assert seen["x-visionmesh-tenant"] == "gamma"
        assert not [name for name in (*CREDENTIALS, "x-visionmesh-claim") if name in seen]
        for check in (teams, processes, strangers):
            await check(mesh)
