"""What the gateway measures: operations and fields by name, and who uses what is to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation.supergraph.compose import FOLDER as SUPERGRAPH
from services.serving import tenancy
from tests.federation.gateway import SCORES, UNKNOWN, Gateway, gateway
from tests.federation.world import World, world
from tests.support.graph import document
from tests.support.prometheus import labelled, promtool, samples, value

OPERATIONS = "visionmesh_graphql_operations_total"
FIELDS = "visionmesh_graphql_fields_total"
DEPRECATED = "visionmesh_graphql_deprecated_fields_total"
ERRORS = "visionmesh_graphql_errors_total"
SUBGRAPHS = "visionmesh_graphql_subgraph_duration_seconds_count"
REQUESTS = "visionmesh_http_server_duration_seconds_count"

NAMES = 100
CLIENTS = 100
TOKEN = "one that the test made up"


@pytest.fixture
async def measured(graph: World) -> AsyncIterator[Gateway]:
    async with gateway(graph, VISIONMESH_METRICS_PORT="0") as front:
        yield front


async def scraped(front: Gateway) -> str:
    """The text that Prometheus is answered."""
    async with front.http.get(f"http://127.0.0.1:{front.metrics_port}/metrics") as answer:
        return await answer.text()


async def test_promtool_finds_no_fault(measured: Gateway):
    """Names and types are as Prometheus wants them."""
    await measured.ask(SCORES, id=UNKNOWN)
    assert await promtool("check", "metrics", given=await scraped(measured)) == (0, "")


async def test_operations_by_name(measured: Gateway, graph: World):
    """By the name that the document has, whether or not the request says it; errors apart."""
    (image,) = await graph.stored(1)
    named = "query Mine($id: ID!) { image(id: $id) { width nsfw { score } } }"
    await measured.ask(named, id=image)
    await measured.get(query=named, variables={"id": image})
    await measured.ask(SCORES, id=image)
    await measured.ask(SCORES, id=UNKNOWN)
    await measured.ask("{ nothing }")
    text = await scraped(measured)
    assert value(text, OPERATIONS, operation="Mine", type="query", outcome="ok") == 2
    assert value(text, OPERATIONS, operation="anonymous", type="query", outcome="ok") == 1
    assert value(text, OPERATIONS, operation="anonymous", type="query", outcome="error") == 1
    assert value(text, ERRORS, code="IMAGE_NOT_FOUND") == 1
    assert value(text, ERRORS, code="GRAPHQL_VALIDATION_FAILED") == 1
    assert value(text, SUBGRAPHS, subgraph="nsfw", outcome="ok") >= 2
    assert value(text, REQUESTS, method="POST", route="/graphql", status="400") == 1


async def test_fields_by_type(measured: Gateway, graph: World):
    """Each field counts once for each operation that names it, however often, also in fragments;
    what the schema says of itself is left out."""
    (image,) = await graph.stored(1)
    query = """
    query ($id: ID!) {
      one: image(id: $id) { __typename ...Size width }
      two: image(id: $id) { ...Size }
    }
    fragment Size on Image { width nsfw { score } }
    """
    for _ in range(3):
        assert (await measured.ask(query, id=image)).codes == []
    await measured.ask("{ __schema { types { name } } }")
    text = await scraped(measured)
    used = {
        (dict(of)["type"], dict(of)["field"]): n
        for (m, of), n in samples(text).items()
        if m == FIELDS
    }
    assert used == {
        ("Query", "image"): 3,
        ("Image", "width"): 3,
        ("Image", "nsfw"): 3,
        ("Nsfw", "score"): 3,
    }


async def test_a_flood_of_names_is_other(measured: Gateway):
    """Of names that clients make up the first hundred are kept; known documents keep theirs."""
    flood = [f"query Flood{number} {{ models {{ name }} }}" for number in range(NAMES + 50)]
    for start in range(0, len(flood), 25):
        await asyncio.gather(*(measured.ask(query) for query in flood[start : start + 25]))
    await measured.get(documentId=document("Verdict"), variables={"id": UNKNOWN})
    await measured.ask("{ models { name } }")
    text = await scraped(measured)
    names = labelled(text, OPERATIONS, "operation")
    assert len([name for name in names if name.startswith("Flood")]) == NAMES
    assert names >= {"other", "anonymous", "Verdict"}
    assert value(text, OPERATIONS, operation="other", type="query", outcome="ok") == 50


async def test_deprecated_fields_by_client(tmp_path: Path):
    """Whose requests name a field that is to go; beyond a hundred clients they are other."""
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    old = "width: Int @join__field(graph: IMAGES)"
    assert good.count(old) == 1
    file.write_text(good.replace(old, f'{old} @deprecated(reason: "measure it")'))
    env = {
        "VISIONMESH_METRICS_PORT": "0",
        "VISIONMESH_SUPERGRAPH": str(file),
        "VISIONMESH_TOKEN": TOKEN,
    }

    def as_tenant(name: str) -> dict[str, str]:
        return {tenancy.TOKEN_HEADER: TOKEN, tenancy.TENANT_HEADER: name}

    query = "query ($id: ID!) { image(id: $id) { width height } }"
    async with world(tmp_path / "data", token=TOKEN) as graph, gateway(graph, **env) as front:
        for _ in range(2):
            await front.ask(query, as_tenant("acme"), id=UNKNOWN)
        await front.ask(query.replace("width", ""), as_tenant("globex"), id=UNKNOWN)
        text = await scraped(front)
        assert value(text, DEPRECATED, type="Image", field="width", client="acme") == 2
        assert labelled(text, DEPRECATED, "client") == {"acme"}
        assert labelled(text, DEPRECATED, "field") == {"width"}
        many = [as_tenant(f"flood{number}") for number in range(CLIENTS + 20)]
        for start in range(0, len(many), 20):
            await asyncio.gather(
                *(front.ask(query, headers, id=UNKNOWN) for headers in many[start : start + 20])
            )
        text = await scraped(front)
        clients = labelled(text, DEPRECATED, "client")
        assert len(clients - {"other"}) == CLIENTS
        assert value(text, DEPRECATED, type="Image", field="width", client="other") == 21
