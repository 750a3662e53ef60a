"""Plain values, written at once: graphql-core's data and errors, whatever is selected."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import pytest
import strawberry
from graphql import FieldNode, GraphQLObjectType, OperationDefinitionNode, parse
from strawberry import ID

from federation.subgraphs.errors import formatted
from federation.subgraphs.projection import Projections, projecting


@strawberry.enum
class Colour(Enum):
    RED = "red"
    GREEN = "green"


@strawberry.type
class Place:
    x: int
    y: int | None


@strawberry.type
class Thing:
    id: ID
    label: str
    score: float
    is_known: bool
    colour: Colour
    place: Place
    maybe: Place | None
    places: list[Place]
    words: list[str | None] | None

    @strawberry.field
    def shout(self, times: int = 1) -> str:
        return self.label.upper() * times

    @strawberry.field
    def grumble(self) -> str | None:
        raise ValueError("no")


WHOLE: dict[str, Any] = {
    "id": ID("a"),
    "label": "cup",
    "score": 0.5,
    "is_known": True,
    "colour": Colour.GREEN,
    "place": Place(x=1, y=None),
    "maybe": None,
    "places": [Place(x=2, y=3), Place(x=4, y=5)],
    "words": ["a", None],
}

ALL_PLAIN = """
  id label score isKnown colour place { x y } maybe { x } places { x y } words
"""

SELECTIONS = {
    "all that is plain": ALL_PLAIN,
    "in another order": "words label id",
    "aliases": "name: label other: place { left: x } label",
    "type names": "__typename place { __typename x kind: __typename }",
    "a resolver": "label shout",
    "an argument": "label shout(times: 2)",
    "an argument by a variable": "label shout(times: $two)",
    "a resolver that fails": "label place { x } grumble",
    "the same twice": "place { x } place { y }",
    "an inline fragment": "label ... on Thing { score }",
    "a fragment": "label ...More",
    "left out by a variable": "label score @include(if: $no)",
    "left out below": "label place { x y @skip(if: $yes) }",
}
PLAIN = {
    "all that is plain",
    "in another order",
    "aliases",
    "type names",
    "a resolver",
    "an argument",
    "a resolver that fails",
}

UNUSUAL: dict[str, dict[str, Any]] = {
    "null where there must be something": {"label": None},
    "null in a place that must be there": {"place": None},
    "null deep inside": {"places": [Place(x=1, y=1), Place(x=None, y=1)]},  # type: ignore[arg-type]  # wrong, as a resolver may be
    "null among those that must be there": {"places": [Place(x=1, y=1), None]},
    "no number": {"score": math.nan},
    "a whole number for a float": {"score": 2},
    "a boolean for a number": {"place": Place(x=True, y=0)},
    "a number that is too big": {"place": Place(x=2**31, y=0)},
    "a text for a number": {"place": Place(x="three", y=0)},  # type: ignore[arg-type]  # wrong, as a resolver may be
    "a number for a text": {"label": 7},
    "a number for an id": {"id": 7},
    "a number for a boolean": {"is_known": 1},
    "no member of the enum": {"colour": "blue"},
    "another type": {"place": {"x": 1, "y": 2}},
    "a tuple for a list": {"places": (Place(x=1, y=2),)},
    "a text for a list": {"words": "words"},
    "an error for a value": {"maybe": ValueError("lost")},
}


@strawberry.type
class Query:
    @strawberry.field
    def thing(self, info: strawberry.Info[dict[str, Any], None]) -> Thing | None:
        return Thing(**{**WHOLE, **info.context})


def schema(projections: Projections | None = None) -> strawberry.Schema:
    executor = projecting(projections) if projections else None
    return strawberry.Schema(Query, execution_context_class=executor)


async def answer(asked: strawberry.Schema, selection: str, given: dict[str, Any]) -> str:
    """Data and errors, both in their order."""
    result = await asked.execute(document(selection), {"yes": True, "no": False, "two": 2}, given)
    written = [
        {key: error[key] for key in ("message", "path")} for error in formatted(result.errors or [])
    ]
    return repr((result.data, written))


def document(selection: str) -> str:
    used = "fragment More on Thing { score }" if "...More" in selection else ""
    kinds = {"yes": "Boolean!", "no": "Boolean!", "two": "Int!"}
    names = [name for name in kinds if f"${name}" in selection]
    variables = ", ".join(f"${name}: {kinds[name]}" for name in names)
    return f"query {f'({variables})' if names else ''} {{ thing {{ {selection} }} }} {used}"


@pytest.mark.parametrize("name", SELECTIONS)
async def test_every_selection_gives_the_same(name: str):
    """Whatever is selected of a whole value, data and their order are graphql-core's."""
    selection = SELECTIONS[name]
    expected = await answer(schema(), selection, {})
    assert await answer(schema(Projections()), selection, {}) == expected
    assert expected.endswith(", [])") is (name != "a resolver that fails")


@pytest.mark.parametrize("name", UNUSUAL)
async def test_every_value_gives_the_same(name: str):
    """What is not of its type gives graphql-core's data, or its error at the same path."""
    expected = await answer(schema(), ALL_PLAIN, UNUSUAL[name])
    assert await answer(schema(Projections()), ALL_PLAIN, UNUSUAL[name]) == expected


@pytest.mark.parametrize("name", SELECTIONS)
def test_what_is_plain_is_compiled(name: str):
    """Fields that need their object alone are written at once; no others are."""
    kind, node = thing_field(SELECTIONS[name])
    assert (Projections().of(kind, node) is not None) is (name in PLAIN)


async def test_a_projection_is_of_its_own_selection():
    """However few are kept, each selection gets its own fields."""
    few = schema(Projections(most=1))
    for selection in ("label", "score", "label", "place { x }") * 2:
        assert await answer(few, selection, {}) == await answer(schema(), selection, {})


def test_a_known_selection_is_not_compiled_again():
    """The second time the same projection is found, until others have taken its place."""
    projections = Projections(most=2)
    kind, node = thing_field("label")
    made = projections.of(kind, node)
    assert projections.of(kind, node) is made
    for other in ("score", "id"):
        projections.of(*thing_field(other))
    assert projections.of(kind, node) is not made


def thing_field(selection: str) -> tuple[GraphQLObjectType, FieldNode]:
    """The type of a thing, and the field whose selection is asked for."""
    kind = SCHEMA._schema.type_map["Thing"]
    operation = parse(document(selection)).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    (node,) = operation.selection_set.selections
    assert isinstance(kind, GraphQLObjectType)
    assert isinstance(node, FieldNode)
    return kind, node


SCHEMA = schema()
