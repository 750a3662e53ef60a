"""What one query asks at once goes out in one request, and each part of it fails on its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from federation.subgraphs import requests
from federation.subgraphs.endpoints import Endpoints, Subgraph
from services import errors
from tests.federation.gateway import Gateway
from tests.federation.world import World

UNKNOWN = "f" * 64
ENTITIES = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Image { %s } } }"
QUERY = "query ($id: ID!) { image(id: $id) { nsfw { score } detection { model { name } } } }"
PAGE = "query ($ids: [ID!]!) { images(ids: $ids) { id nsfw { score } } }"


def part(subgraph: str, selection: str, ids: list[str]) -> dict[str, Any]:
    entities = [{"__typename": "Image", "id": image_id} for image_id in ids]
    request = {"query": ENTITIES % selection, "variables": {"r": entities}}
    return {"subgraph": subgraph, "trace": {}, "request": request}


async def together(graph: World, parts: list[Any]) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{graph.port}/together"
    async with graph.http.post(url, json=parts) as answer:
        return answer.status, await answer.json()


async def test_each_part_is_answered_as_if_alone(graph: World):
    """In its order, with its own release and errors; a bad part costs the others nothing."""
    ids = await graph.stored(2)
    graph.nsfw.errors = {ids[1]: errors.ModelUnavailable("gone")}
    status, (scores, objects, none, bad) = await together(
        graph,
        [
            part("nsfw", "nsfw { score }", ids),
            part("detection", "detection { model { name } }", ids),
            part("colours", "id", ids),
            {"subgraph": "nsfw", "trace": {}, "request": {"query": ""}},
        ],
    )
    assert status == 200
    assert [one["nsfw"] is None for one in scores["content"]["data"]["_entities"]] == [False, True]
    assert scores["content"]["errors"][0]["path"] == ["_entities", 1, "nsfw"]
    assert scores["release"] == ""
    alone = await graph.entities("detection", "detection { model { name } }", ids)
    assert objects["content"] == alone.json
    assert objects["release"] == alone.headers["x-visionmesh-release"]
    assert objects["representation"] == alone.headers["x-visionmesh-representation"]
    assert none["status"] == 404
    assert bad["status"] == 400
    assert bad["content"]["errors"][0]["extensions"]["field"] == "query"


@pytest.mark.parametrize(
    "parts",
    [[], {}, "parts", [7], [{"subgraph": 7}], [{"subgraph": "nsfw", "trace": [1]}], [{}] * 101],
)
async def test_what_is_no_list_of_requests_is_refused(graph: World, parts: Any):
    """With the field, and nothing is asked."""
    status, content = await together(graph, parts)
    assert status == 400
    assert content["errors"][0]["extensions"]["field"] in {"body", "subgraph", "trace"}
    assert not graph.nsfw.calls


async def test_a_query_is_one_request(
    graph: World, front: Gateway, monkeypatch: pytest.MonkeyPatch
):
    """Whose image it is and what two models see: one request, and one call a model."""
    (image,) = await graph.stored(1)
    paths: list[str] = []
    parts: list[str] = []
    admitted, parts_from_json = Endpoints._admitted, requests.parts_from_json

    async def noted(self: Endpoints, request: web.Request, answer: Any) -> web.Response:
        paths.append(request.path)
        return await admitted(self, request, answer)

    def read(body: bytes) -> list[requests.Part]:
        found = parts_from_json(body)
        parts.extend(each.subgraph for each in found)
        return found

    monkeypatch.setattr(Endpoints, "_admitted", noted)
    monkeypatch.setattr(requests, "parts_from_json", read)
    answer = await front.ask(QUERY, id=image)
    assert answer.codes == []
    assert paths == ["/together"]
    assert sorted(parts) == ["detection", "images", "nsfw"]
    assert [len(calls) for calls in (graph.nsfw.calls, graph.detection.calls)] == [1, 1]


async def test_an_image_that_is_not_there_is_null(graph: World, front: Gateway):
    """It was presumed to be there: what that led to is in no answer."""
    answer = await front.ask(QUERY, id=UNKNOWN)
    assert answer.json["data"] == {"image": None}
    assert answer.places == {("image",): "IMAGE_NOT_FOUND"}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_good_images_among_others_are_answered(graph: World, front: Gateway):
    """Malformed and unknown ids are null in their places, with one error each."""
    ids = await graph.stored(2)
    for other, code in ((UNKNOWN, "IMAGE_NOT_FOUND"), ("no id", "INVALID_ARGUMENT")):
        answer = await front.ask(PAGE, ids=[ids[0], other, ids[1]])
        first, none, last = answer.json["data"]["images"]
        assert (first["id"], none, last["id"]) == (ids[0], None, ids[1])
        assert answer.places == {("images", 1): code}


async def test_no_verdict_is_given_before_it_is_known_whose_image_it_is(
    graph: World, front: Gateway
):
    """Verdicts are recorded: none is asked for of what is not there, and none twice."""
    query = "query ($ids: [ID!]!) { images(ids: $ids) { id moderation { isCompliant } } }"
    ids = await graph.stored(2)
    answer = await front.ask(query, ids=[*ids, UNKNOWN])
    assert answer.places == {("images", 2): "IMAGE_NOT_FOUND"}
    (call,) = graph.moderation.calls
    assert sorted(image.digest for image in call.images) == sorted(ids)


async def test_a_part_that_is_late_is_late_alone(graph: World, monkeypatch: pytest.MonkeyPatch):
    """A store that does not answer one part leaves the others their answers."""
    (image,) = await graph.stored(1)
    answer = Subgraph.answer

    async def hanging(self: Subgraph, asked: requests.GraphQLRequest, pinned: str | None) -> Any:
        if "nsfw" in asked.query:
            await asyncio.Event().wait()
        return await answer(self, asked, pinned)

    monkeypatch.setattr(Subgraph, "answer", hanging)
    parts = [part("nsfw", "nsfw { score }", [image]), part("detection", "id", [image])]
    url = f"http://127.0.0.1:{graph.port}/together"
    headers = {"x-request-timeout-ms": "300"}
    async with graph.http.post(url, json=parts, headers=headers) as response:
        late, other = await response.json()
    assert late["content"]["errors"][0]["extensions"]["code"] == "DEADLINE_EXCEEDED"
    assert other["content"] == {"data": {"_entities": [{"id": image}]}}


async def test_half_a_character_spoils_its_own_field_alone(graph: World, front: Gateway):
    """What no subgraph can read goes to the one that it is for."""
    query = (
        "query ($id: ID!, $brands: [String!]) "
        "{ image(id: $id) { nsfw { score } logo(brands: $brands) { model { name } } } }"
    )
    (image,) = await graph.stored(1)
    body = json.dumps({"query": query, "variables": {"id": image, "brands": ["\ud800"]}})
    async with front.http.post(
        f"{front.url}/graphql", data=body, headers={"Content-Type": "application/json"}
    ) as response:
        content = await response.json()
    assert content["data"]["image"]["nsfw"]
    assert content["data"]["image"]["logo"] is None
