"""Another team's subgraph in the graph: the example, and one that must be told no secret."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from federation.supergraph.__main__ import extended
from federation.supergraph.compose import CompositionError
from mesh.programs import NODE
from tests.federation.gateway import PATIENCE_S, gateway
from tests.federation.world import World, world
from tests.support.photos import jpeg
from visionmesh.moderation.v1 import moderation_pb2

ROOT: Final = Path(__file__).resolve().parents[2]
UNKNOWN: Final = "f" * 64

SHELF = """
query ($first: Int!) {
  products(first: $first) {
    name
    images { id width moderation { isCompliant rejectionReasons(first: 3) { code } } }
  }
}
"""


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The supergraph with the example in it, made by the README's commands."""
    folder = tmp_path_factory.mktemp("shop")
    schema, supergraph = folder / "products.graphql", folder / "supergraph.graphql"
    schema.write_text(_run("examples.products", "sdl"))
    _run("federation.supergraph", str(supergraph), f"products={schema}")
    return supergraph


def _catalogue(folder: Path, *products: Sequence[str]) -> Path:
    """A file of products, each with some images."""
    file = folder / "products.json"
    content = [
        {"id": f"p{number}", "name": f"Product {number}", "priceCents": 100, "images": list(images)}
        for number, images in enumerate(products)
    ]
    file.write_text(json.dumps(content))
    return file


@asynccontextmanager
async def _selling(file: Path) -> AsyncIterator[str]:
    """The example's process; its URL."""
    command = ("-m", "examples.products", "serve", "--port", "0", "--file", str(file))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        yield said.decode().split()[1]
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_a_shelf_of_products_with_their_verdicts(graph: World, shop: Path, tmp_path: Path):
    """One query: what the shop says, and of all images the verdict, asked once a subgraph."""
    one, other = await graph.stored(2)
    graph.moderation.verdict.decision = moderation_pb2.DECISION_REJECTED
    for number in range(4):
        graph.moderation.verdict.reasons.add(code=f"RULE_{number}")
    reasons = [{"code": f"RULE_{number}"} for number in range(3)]
    verdict = {"isCompliant": False, "rejectionReasons": reasons}
    file = _catalogue(tmp_path, [one], [other], [one, other])
    async with (
        _selling(file) as url,
        gateway(
            graph,
            VISIONMESH_SUPERGRAPH=str(shop),
            VISIONMESH_FOREIGN_SUBGRAPHS=f"products={url}",
        ) as front,
    ):
        answer = await front.ask(SHELF, first=10)
    shown = [{"id": image, "width": 8, "moderation": verdict} for image in (one, other)]
    assert answer.json == {
        "data": {
            "products": [
                {"name": "Product 0", "images": [shown[0]]},
                {"name": "Product 1", "images": [shown[1]]},
                {"name": "Product 2", "images": shown},
            ]
        }
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert [len(call.images) for call in graph.moderation.calls] == [2]


async def test_what_the_shop_refuses_is_told(graph: World, shop: Path, tmp_path: Path):
    """A foreign error with a code of the mesh keeps its code and message; nothing else of it does.

    An image that the caller does not have is null at its place.
    """
    (image,) = await graph.stored(1)
    async with (
        _selling(_catalogue(tmp_path, [UNKNOWN, image])) as url,
        gateway(
            graph,
            VISIONMESH_SUPERGRAPH=str(shop),
            VISIONMESH_FOREIGN_SUBGRAPHS=f"products={url}",
        ) as front,
    ):
        many = await front.ask(SHELF, first=101)
        missing = await front.ask("{ products { images { id width } } }")
    assert many.places == {("products",): "INVALID_ARGUMENT"}
    assert many.json["errors"][0]["extensions"]["limit"] == "100"
    images = missing.json["data"]["products"][0]["images"]
    assert images == [{"id": UNKNOWN, "width": None}, {"id": image, "width": 8}]
    assert missing.places == {("products", 0, "images", 0, "width"): "IMAGE_NOT_FOUND"}


async def test_a_shop_that_is_closed_is_one_null_field(
    graph: World, shop: Path, unused_tcp_port: int
):
    """Without the products' process its field is null with a code, and the mesh's are there."""
    (image,) = await graph.stored(1)
    query = "query ($id: ID!) { products { name } image(id: $id) { width nsfw { score } } }"
    async with gateway(
        graph,
        VISIONMESH_SUPERGRAPH=str(shop),
        VISIONMESH_FOREIGN_SUBGRAPHS=f"products=http://127.0.0.1:{unused_tcp_port}/graphql",
    ) as front:
        answer = await front.ask(query, id=image)
        assert (await front.send("GET", "/readyz")).status == 200
    assert answer.json["data"] == {
        "products": None,
        "image": {"width": 8, "nsfw": {"score": 0.0}},
    }
    assert answer.places == {("products",): "UNAVAILABLE"}


LABELS = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
type Image @key(fields: "id") { id: ID! shelf: String price: Int }
"""


class Shelves:
    """A subgraph of another team that says where an image hangs, and remembers what it was told."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.claimed = ""
        self.errors: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        asked = await request.json()
        entities = [{"shelf": "A1", "price": None} for _ in asked["variables"]["representations"]]
        content = {"data": {"_entities": entities}, "errors": self.errors}
        return web.json_response(content, headers={"x-visionmesh-release": self.claimed})

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/shelves", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/shelves"
        finally:
            await runner.cleanup()


@pytest.fixture
def shelves(tmp_path: Path) -> tuple[Shelves, Path]:
    """The other team's subgraph, and the supergraph with it."""
    schema = tmp_path / "shelves.graphql"
    schema.write_text(LABELS)
    supergraph = tmp_path / "supergraph.graphql"
    supergraph.write_text(extended({"shelves": schema}))
    return Shelves(), supergraph


async def test_other_teams_learn_the_tenant_and_no_secret(
    tmp_path: Path, shelves: tuple[Shelves, Path]
):
    """A foreign subgraph gets tenant, deadline and trace, and never the token; of its errors, those
    with strange codes are masked."""
    token = "t" * 32
    spy, supergraph = shelves
    spy.errors = [
        {
            "message": "password of /srv/shop",
            "path": ["_entities", 0, "price"],
            "extensions": {"code": "SHOP_DATABASE"},
        }
    ]
    async with (
        world(tmp_path / "world", token=token) as graph,
        spy.served() as url,
        gateway(
            graph,
            VISIONMESH_TOKEN=token,
            VISIONMESH_SUPERGRAPH=str(supergraph),
            VISIONMESH_FOREIGN_SUBGRAPHS=f"shelves={url}",
        ) as front,
    ):
        record, _ = await graph.store.create("acme", jpeg(8, 8, seed=1))
        known = {"x-visionmesh-token": token, "x-visionmesh-tenant": "acme"}
        query = "query ($id: ID!) { image(id: $id) { width shelf price } }"
        answer = await front.ask(query, known, id=record.digest)
        (heard,) = spy.headers
    assert answer.json["data"] == {"image": {"width": 8, "shelf": "A1", "price": None}}
    assert answer.places == {("image", "price"): "INTERNAL"}
    assert "password" not in answer.text
    assert heard["x-visionmesh-tenant"] == "acme"
    assert 0 < int(heard["x-request-timeout-ms"]) <= 60_000
    assert answer.json["errors"][0]["extensions"]["traceId"] in heard["traceparent"]
    assert token not in heard.values()
    assert "x-visionmesh-token" not in heard


async def test_what_another_team_says_is_not_kept(graph: World, shelves: tuple[Shelves, Path]):
    """With a foreign part an answer is nobody's to keep, whatever release that part claims."""
    spy, supergraph = shelves
    (image,) = await graph.stored(1)
    own = "query ($id: ID!) { image(id: $id) { width } }"
    both = "query ($id: ID!) { image(id: $id) { width shelf } }"
    async with (
        spy.served() as url,
        gateway(
            graph,
            VISIONMESH_SUPERGRAPH=str(supergraph),
            VISIONMESH_FOREIGN_SUBGRAPHS=f"shelves={url}",
        ) as front,
    ):
        kept = await front.get(query=own, variables={"id": image})
        spy.claimed = kept.headers["Content-Location"].partition("release=")[2][:16]
        answer = await front.get(query=both, variables={"id": image})
        pinned = await front.get(query=both, variables={"id": image}, release=spy.claimed)
    assert kept.headers["Cache-Control"] == "no-cache"
    assert answer.json == pinned.json == {"data": {"image": {"width": 8, "shelf": "A1"}}}
    assert [one.headers["Cache-Control"] for one in (answer, pinned)] == ["no-store"] * 2
    assert all("x-visionmesh-release" not in heard for heard in spy.headers)


@pytest.mark.parametrize("value", ["products", "products=shop", "Products=http://127.0.0.1:1"])
async def test_a_place_that_is_none_is_refused_at_start(value: str):
    """A foreign subgraph is a name and a URL; the gateway says so and does not start."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        ROOT / "federation/gateway/main.ts",
        env={"VISIONMESH_FOREIGN_SUBGRAPHS": value},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 1
    assert said.startswith(b"gateway: foreign_subgraphs: ")


@pytest.mark.parametrize(
    ("name", "field", "said"),
    [
        ("nsfw", "shelf: String", "nsfw is a subgraph of the mesh"),
        ("shelves", "nsfw: Int", "Image.nsfw"),
        ("shelves", 'width: Int @override(from: "images")', "images is the mesh's"),
    ],
)
def test_no_other_team_answers_for_the_mesh(tmp_path: Path, name: str, field: str, said: str):
    """A subgraph with a name or a field of the mesh's is no part of a supergraph."""
    schema = tmp_path / "shelves.graphql"
    head = LABELS.splitlines()[1].replace('"@key"', '"@key", "@override"')
    schema.write_text(f'{head}\ntype Image @key(fields: "id") {{ id: ID! {field} }}')
    with pytest.raises(CompositionError) as raised:
        extended({name: schema})
    assert said in str(raised.value)
