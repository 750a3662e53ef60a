"""The end of the gateway and of subgraphs: said first, then waited for."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp

from federation.subgraphs.server import subgraph_server
from federation.subgraphs.settings import SubgraphSettings
from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.serving.ending import Ending
from tests.federation.gateway import gateway
from tests.federation.world import World

PATIENCE_S = 60.0
LONG = {"VISIONMESH_LAME_DUCK_S": "600"}
QUERY = {"query": "{ __typename }"}


async def until_ending(http: aiohttp.ClientSession) -> None:
    """Wait until a server says that nothing more should be sent."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with http.get("/healthz") as answer:
                if answer.status == 503:
                    return


async def test_the_gateway_says_so_first(graph: World):
    """After SIGTERM the gateway is neither healthy nor ready, answers on, and closes connections;
    a second signal ends it."""
    async with gateway(graph, **LONG) as front, aiohttp.ClientSession(front.url) as http:
        front.process.send_signal(signal.SIGTERM)
        await until_ending(http)
        async with http.get("/readyz") as ready:
            assert ready.status == 503
        async with http.post("/graphql", json=QUERY) as answer:
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        front.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(front.process.wait(), PATIENCE_S) == 0


async def test_subgraphs_say_so_first(tmp_path: Path):
    """When their end begins, subgraphs are neither healthy nor ready, answer on, and let each
    answer end its connection."""
    ending = Ending(lame_duck_s=PATIENCE_S)
    objects = Objects.open(tmp_path)
    async with (
        MeshClient("127.0.0.1:1") as mesh,
        subgraph_server(SubgraphSettings(), mesh, objects, ["images"], ending=ending) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        async with http.post("/images", json=QUERY) as answer:
            assert (answer.status, answer.headers.get("connection")) == (200, None)
        ends = asyncio.create_task(ending.begin())
        await until_ending(http)
        async with http.get("/readyz") as ready:
            assert ready.status == 503
        async with http.post("/images", json=QUERY) as answer:
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await answer.json() == {"data": {"__typename": "Query"}}
        ends.cancel()
