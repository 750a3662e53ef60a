"""Documents that have a plan: graphql-core's data and errors, whatever is asked."""

from __future__ import annotations

from typing import Any

import pytest

from federation.subgraphs.plans import Plan, Plans
from federation.subgraphs.schemas import SUBGRAPHS
from services import errors
from tests.federation.world import Answer, World
from visionmesh.common.v1.geometry_pb2 import Box
from visionmesh.detection.v1.detection_pb2 import Detection
from visionmesh.moderation.v1 import moderation_pb2

UNKNOWN = "f" * 64
ENTITIES = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Image { %s } } }"

PLANNED = {
    "a field": ("nsfw", ENTITIES % "nsfw { score }"),
    "fields in their order": ("nsfw", ENTITIES % "nsfw { model { version name } score } id"),
    "aliases": ("detection", ENTITIES % "few: detection(first: 1) { detections { a: label } } id"),
    "the same field twice": (
        "detection",
        ENTITIES
        % "a: detection { model { name } } b: detection(minScore: 0.9) { image { width } }",
    ),
    "arguments": (
        "detection",
        ENTITIES % 'detection(minScore: 0.1, labels: ["cup"]) { detections { label box { x } } }',
    ),
    "arguments that are refused": ("detection", ENTITIES % "detection(first: -1) { __typename }"),
    "a verdict": (
        "moderation",
        ENTITIES
        % "moderation { isCompliant rejectionReasons(first: 1) { code severity } missing }",
    ),
    "a verdict's first, refused": (
        "moderation",
        ENTITIES % "moderation { isCompliant rejectionReasons(first: -1) { code } }",
    ),
    "type names": ("nsfw", ENTITIES % "__typename id nsfw { __typename image { __typename } }"),
    "a type name outside": (
        "nsfw",
        "query ($r: [_Any!]!) { _entities(representations: $r) "
        "{ __typename ... on Image { nsfw { score } } } }",
    ),
    "an image": ("images", "query ($id: ID!) { image(id: $id) { id width mediaType } }"),
    "images": (
        "images",
        "query ($ids: [ID!]!) { some: images(ids: $ids) { id rendition { width } } }",
    ),
    "a name": ("images", "query Asked($id: ID!) { image(id: $id) { __typename id } }"),
    "a variable for an argument": (
        "detection",
        "query ($r: [_Any!]!, $score: Float!, $first: Int) { _entities(representations: $r) "
        "{ ... on Image { detection(minScore: $score, first: $first) { model { name } } } } }",
    ),
}

UNPLANNED = {
    "a fragment with a name": (
        "nsfw",
        "query ($r: [_Any!]!) { _entities(representations: $r) { ...A } } "
        "fragment A on Image { nsfw { score } }",
    ),
    "a directive": ("nsfw", ENTITIES % "id nsfw @include(if: true) { score }"),
    "one key twice": ("nsfw", ENTITIES % "nsfw { score } nsfw { model { name } }"),
    "a field that is not there": ("nsfw", ENTITIES % "nsfw { colour }"),
    "a syntax error": ("nsfw", "query ($r: [_Any!]!) {"),
    "two roots": ("images", "query ($id: ID!) { image(id: $id) { id } models { name } }"),
    "another root": ("images", "{ models { name version } }"),
    "a moment": ("images", "query ($id: ID!) { image(id: $id) { id createdAt } }"),
    "a variable below": (
        "moderation",
        "query ($r: [_Any!]!, $first: Int) { _entities(representations: $r) "
        "{ ... on Image { moderation { rejectionReasons(first: $first) { code } } } } }",
    ),
    "a mutation": ("images", "mutation ($id: ID!) { deleteImage(id: $id) }"),
}

ODD_ENTITIES: dict[str, Any] = {
    "none": [],
    "no list": {"__typename": "Image"},
    "nothing": None,
    "another type": [{"__typename": "Brand", "id": UNKNOWN}],
    "no type": [{"id": UNKNOWN}],
    "no id": [{"__typename": "Image"}],
    "an id that is none": [{"__typename": "Image", "id": "here"}],
    "a number for an id": [{"__typename": "Image", "id": 7}],
    "more than the key": [{"__typename": "Image", "id": UNKNOWN, "width": 3}],
    "too many": [{"__typename": "Image", "id": UNKNOWN}] * 513,
}


def see(graph: World) -> None:
    """Have the models see something."""
    seen = [
        Detection(label="cup", score=0.8, box=Box(x=1, y=2, width=3, height=4)),
        Detection(label="dog", score=0.6, box=Box(x=1, y=2, width=3, height=4)),
    ]
    graph.detection.seen.detections.extend(seen)
    graph.moderation.verdict.decision = moderation_pb2.DECISION_REJECTED
    for code in ("A", "B"):
        graph.moderation.verdict.reasons.add(
            code=code, severity=moderation_pb2.SEVERITY_HIGH, message="No."
        )


async def both(
    graph: World, monkeypatch: pytest.MonkeyPatch, subgraph: str, query: str, **variables: Any
) -> tuple[Answer, Answer]:
    """What is answered as things are, and what without any plan."""
    planned = await graph.ask(subgraph, query, **variables)
    with monkeypatch.context() as patch:
        patch.setattr(Plans, "of", lambda *_: None)
        return planned, await graph.ask(subgraph, query, **variables)


def told(answer: Answer) -> tuple[int, Any, Any]:
    """All that a client sees of an answer but its trace, and which of its errors came first."""
    for error in answer.json.get("errors", []):
        del error["extensions"]["traceId"]
    answer.json.get("errors", []).sort(key=lambda error: str(error.get("path")))
    kept = {name: value for name, value in answer.headers.items() if "visionmesh" in name.lower()}
    return answer.status, answer.json, kept


def variables_of(query: str, ids: list[str]) -> dict[str, Any]:
    given = {
        "r": [{"__typename": "Image", "id": each} for each in ids],
        "ids": ids,
        "id": ids[0],
        "score": 0.7,
        "first": 1,
    }
    return {name: value for name, value in given.items() if f"${name}:" in query}


def planned(subgraph: str, query: str) -> Plan | None:
    schema: Any = SUBGRAPHS[subgraph]()
    return Plans(10).of(schema._schema, query, None)


@pytest.mark.parametrize("name", PLANNED)
async def test_a_plan_gives_the_same(graph: World, monkeypatch: pytest.MonkeyPatch, name: str):
    """Data, errors and releases are graphql-core's, and what is asked of a model is the same."""
    see(graph)
    subgraph, query = PLANNED[name]
    assert planned(subgraph, query)
    ids = await graph.stored(3)
    found, expected = await both(graph, monkeypatch, subgraph, query, **variables_of(query, ids))
    assert told(found) == told(expected)
    assert found.json["data"]


@pytest.mark.parametrize("name", PLANNED)
async def test_a_plan_gives_the_same_errors(
    graph: World, monkeypatch: pytest.MonkeyPatch, name: str
):
    """An image that is not there, one that is none and a failed image leave the others whole."""
    see(graph)
    subgraph, query = PLANNED[name]
    ids = await graph.stored(3)
    lost = errors.ModelUnavailable("gone")
    graph.moderation.errors = graph.nsfw.errors = {ids[1]: lost}
    graph.detection.error = lost
    for given in ([UNKNOWN, *ids], [*ids, "no id"], [*ids, *ids]):
        found, expected = await both(
            graph, monkeypatch, subgraph, query, **variables_of(query, given)
        )
        assert told(found) == told(expected)


@pytest.mark.parametrize("name", UNPLANNED)
async def test_what_has_no_plan_is_answered(
    graph: World, monkeypatch: pytest.MonkeyPatch, name: str
):
    """A document that is more than fields of images is graphql-core's from the start."""
    subgraph, query = UNPLANNED[name]
    assert planned(subgraph, query) is None
    ids = await graph.stored(2)
    if name == "a mutation":
        answer = await graph.ask(subgraph, query, id=ids[0])
        assert answer.json["data"] == {"deleteImage": ids[0]}
        return
    found, expected = await both(graph, monkeypatch, subgraph, query, **variables_of(query, ids))
    assert told(found) == told(expected)


@pytest.mark.parametrize("name", ODD_ENTITIES)
async def test_odd_entities_give_the_same(graph: World, monkeypatch: pytest.MonkeyPatch, name: str):
    """Whatever a gateway may send for entities, the answer is graphql-core's."""
    query = ENTITIES % "nsfw { score }"
    found, expected = await both(graph, monkeypatch, "nsfw", query, r=ODD_ENTITIES[name])
    assert told(found) == told(expected)


async def test_odd_variables_give_the_same(graph: World, monkeypatch: pytest.MonkeyPatch):
    """A variable of another type, none, and one that nobody asked for."""
    subgraph, query = PLANNED["a variable for an argument"]
    entities = variables_of(query, await graph.stored(1))["r"]
    for given in ({}, {"score": "much"}, {"score": None}, {"score": 0.5, "other": 1}):
        found, expected = await both(graph, monkeypatch, subgraph, query, r=entities, **given)
        assert told(found) == told(expected)


async def test_a_failure_asks_no_model_twice(graph: World):
    """graphql-core, which says what went wrong, finds what was answered already."""
    ids = await graph.stored(3)
    graph.nsfw.errors = {ids[1]: errors.ModelUnavailable("gone")}
    answer = await graph.entities("nsfw", "nsfw { score }", ids)
    assert answer.codes == ["MODEL_UNAVAILABLE"]
    assert len(graph.nsfw.calls) == 1


async def test_another_operation_is_refused(graph: World):
    """A plan is of the one operation of its document."""
    body = {"query": PLANNED["a name"][1], "operationName": "Other", "variables": {"id": UNKNOWN}}
    answer = await graph.post("images", body)
    assert answer.status == 400
    assert answer.json["errors"][0]["extensions"]["field"] == "operationName"


def test_few_plans_are_kept():
    """The oldest makes room; a known one is not made again."""
    schema: Any = SUBGRAPHS["nsfw"]()
    plans = Plans(2)
    first = plans.of(schema._schema, ENTITIES % "id", None)
    assert first
    assert plans.of(schema._schema, ENTITIES % "id", None) is first
    for selection in ("nsfw { score }", "id nsfw { score }"):
        assert plans.of(schema._schema, ENTITIES % selection, None)
    assert plans.of(schema._schema, ENTITIES % "id", None) is not first
