"""Clients that nobody here wrote ask what the README asks, through Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gql import GraphQLRequest

from federation.documents.manifest import documents
from tests.federation.clients.python import gql_session
from tests.federation.clients.urql import urql
from tests.support.photos import jpeg
from tests.support.whole import World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERDICT = documents()["verdict.graphql"]
APPROVED = {"image": {"moderation": {"isCompliant": True, "rejectionReasons": []}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("mesh"), tenants=("acme",)) as running:
        yield running


async def test_gql(mesh: World):
    """Python's gql reads the schema and asks for the verdict, with a key."""
    digest = await mesh.upload(jpeg(64, 48, seed=1))
    headers = {"x-api-key": mesh.keys["acme"]}
    async with gql_session(f"{mesh.mesh.edge_url}/graphql", headers) as session:
        answer = await session.execute(GraphQLRequest(VERDICT, variable_values={"id": digest}))
    assert answer == APPROVED


async def test_urql(mesh: World):
    """urql asks twice for a known document over GET: Envoy keeps it, and the second is a 304."""
    digest = await mesh.upload(jpeg(64, 48, seed=2))
    before = mesh.stats(r"^cluster\.gateway\.upstream_rq_304$")
    asked = await urql(
        f"{mesh.mesh.edge_url}/graphql",
        VERDICT,
        {"id": digest},
        known=True,
        headers={"x-api-key": mesh.keys["acme"]},
        times=2,
    )
    assert asked.answers == [{"data": APPROVED}] * 2
    first, second = asked.requests
    assert (first.method, first.url) == ("GET", second.url)
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["x-trace-id"] != second.headers["x-trace-id"]
    after = mesh.stats(r"^cluster\.gateway\.upstream_rq_304$")
    assert sum(after.values()) - sum(before.values()) == 1
