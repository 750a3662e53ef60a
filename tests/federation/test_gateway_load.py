"""The gateway when clients leave, when there is too much, and when a place of several is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from federation.supergraph.__main__ import extended
from tests.federation.gateway import PATIENCE_S, Gateway, gateway
from tests.federation.world import World

UNKNOWN = "f" * 64
SCORES = "query ($id: ID!) { image(id: $id) { width nsfw { score } } }"


class Waiting:
    """An images subgraph that answers when it is told to, and knows who has left."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.released = asyncio.Event()
        self.calls = 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.calls += 1
        self.asked.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        image = {"__typename": "Image", "id": UNKNOWN, "width": 8}
        return web.json_response({"data": {"image": image}})

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/images", self.answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


WIDTH = "query ($id: ID!) { image(id: $id) { width } }"


async def test_who_hangs_up_ends_the_work():
    """When the only client leaves, the subgraph's request is cancelled."""
    images = Waiting()
    async with images.served() as url, gateway(url) as front:
        asking = asyncio.create_task(front.ask(WIDTH, id=UNKNOWN))
        await asyncio.wait_for(images.asked.wait(), PATIENCE_S)
        asking.cancel()
        await asyncio.wait_for(images.left.wait(), PATIENCE_S)
        assert (await front.send("GET", "/healthz")).status == 200
    assert images.calls == 1


@pytest.mark.parametrize("leaving", [0, 1])
async def test_who_hangs_up_takes_nothing_from_others(leaving: int):
    """Of two who share an execution one leaves, also who began it: the other one is answered."""
    images = Waiting()
    async with images.served() as url, gateway(url) as front:
        asking = [asyncio.create_task(front.ask(WIDTH, id=UNKNOWN)) for _ in range(2)]
        await front.arrived(2)
        await asyncio.wait_for(images.asked.wait(), PATIENCE_S)
        asking.pop(leaving).cancel()
        await front.send("GET", "/healthz")  # what was sent before has been read
        assert not images.left.is_set()
        images.released.set()
        answer = await asking[0]
    assert answer.json == {"data": {"image": {"width": 8}}}
    assert images.calls == 1
    assert not images.left.is_set()


async def test_the_last_who_hangs_up_ends_the_shared_work():
    """A shared execution is cancelled when all have left, and whoever asks then begins anew."""
    images = Waiting()
    async with images.served() as url, gateway(url) as front:
        asking = [asyncio.create_task(front.ask(WIDTH, id=UNKNOWN)) for _ in range(3)]
        await front.arrived(3)
        await asyncio.wait_for(images.asked.wait(), PATIENCE_S)
        for each in asking:
            each.cancel()
        await asyncio.wait_for(images.left.wait(), PATIENCE_S)
        images.released.set()
        answer = await front.ask(WIDTH, id=UNKNOWN)
    assert answer.json == {"data": {"image": {"width": 8}}}
    assert images.calls == 2


async def test_a_place_of_several_may_be_gone(graph: World, unused_tcp_port: int):
    """Of several processes with the same subgraphs one is gone: nobody notices."""
    (image,) = await graph.stored(1)
    places = f"http://127.0.0.1:{unused_tcp_port},http://127.0.0.1:{graph.port}"
    async with gateway(places) as front:
        answers = [await front.ask(SCORES, id=image) for _ in range(4)]
        assert (await front.send("GET", "/readyz")).status == 200
    expected = {"data": {"image": {"width": 8, "nsfw": {"score": 0.0}}}}
    assert [answer.json for answer in answers] == [expected] * 4


async def test_too_many_uploads_at_once_are_refused(graph: World):
    """Beyond the budget for bodies a client is told to come back, and the rest goes on."""
    (image,) = await graph.stored(1)
    async with gateway(graph, VISIONMESH_UPLOAD_BUDGET_BYTES="1000") as front:
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("operations", "{}")
        form.add_field("0", b"x" * 2_000, filename="a.jpg")
        headers = {"apollo-require-preflight": "true"}
        refused = await front.send("POST", "/graphql", data=form, headers=headers)
        answered = await front.ask(SCORES, id=image)
    assert (refused.status, refused.codes) == (503, ["OVERLOADED"])
    assert refused.headers["Retry-After"] == "1"
    assert answered.codes == []


TWINS = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
type Image @key(fields: "id") { id: ID! twin: Image }
"""


def _twins(levels: int) -> str:
    return (
        "query ($id: ID!) { image(id: $id) " + "{ twin " * levels + "{ id }" + " }" * levels + "}"
    )


async def test_depth_is_limited(graph: World, tmp_path: Path, unused_tcp_port: int):
    """In a graph with a circle, a document as deep as the limit runs, and a deeper one does not."""
    schema, supergraph = tmp_path / "twins.graphql", tmp_path / "supergraph.graphql"
    schema.write_text(TWINS)
    supergraph.write_text(extended({"twins": schema}))
    env = {
        "VISIONMESH_SUPERGRAPH": str(supergraph),
        "VISIONMESH_FOREIGN_SUBGRAPHS": f"twins=http://127.0.0.1:{unused_tcp_port}",
    }
    (image,) = await graph.stored(1)
    async with gateway(graph, **env) as front:
        deepest = await front.ask(_twins(8), id=image)
        deeper = await front.ask(_twins(9), id=image)
        spread = await front.ask(
            f"{_twins(4).replace('{ id }', '{ ...A }')} fragment A on Image "
            f"{{ {'twin { ' * 5} id {'} ' * 5} }}",
            id=image,
        )
    assert deepest.status == 200
    assert deepest.places == {("image", "twin"): "UNAVAILABLE"}
    for refused in (deeper, spread):
        assert (refused.status, refused.codes) == (400, ["LIMIT_EXCEEDED"])
        extensions = refused.json["errors"][0]["extensions"]
        assert (extensions["field"], extensions["limit"]) == ("depth", "10")


async def test_introspection_cannot_be_made_deep(front: Gateway):
    """Introspection that goes in circles is refused before it is executed."""
    circles = "{ __schema { types { " + "fields { type { " * 4 + "name" + " } }" * 4 + " } } }"
    answer = await front.ask(circles)
    assert (answer.status, answer.codes[0]) == (400, "GRAPHQL_VALIDATION_FAILED")
