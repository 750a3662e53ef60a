"""The supergraph: what does not compose is named, and what clients rely on stays."""

from __future__ import annotations

import pytest

from federation.subgraphs import schemas
from federation.subgraphs.schemas import SUBGRAPHS, sdl
from federation.supergraph.breaking import breaking_changes
from federation.supergraph.compose import FOLDER, CompositionError, compose
from mesh.generate import main

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])'

BEFORE = """
type Query { image(id: ID!): Image }
type Image { id: ID! old: Int @deprecated(reason: "Use `new`.") new: Int kind: Kind }
enum Kind { CAT DOG @deprecated(reason: "No dogs.") }
"""


def test_what_does_not_compose_is_named():
    """A field that two subgraphs both claim is an error that names the field and a subgraph."""
    clash = f'{LINK}\ntype Image @key(fields: "id") {{ id: ID! nsfw: Int }}'
    with pytest.raises(CompositionError) as raised:
        compose({"nsfw": sdl("nsfw"), "other": clash})
    assert "Image.nsfw" in str(raised.value)
    assert '"other"' in str(raised.value)


def test_a_schema_that_is_none_is_named():
    """What is no SDL at all is an error that names the subgraph and the place."""
    with pytest.raises(CompositionError, match=r"\[broken\] Syntax Error: .* \(2:6\)"):
        compose({"nsfw": sdl("nsfw"), "broken": "scalar A\ntype {"})


def test_types_that_differ_are_named():
    """A field that two subgraphs give different types is an error that names both."""
    texts = {
        name: f'{LINK}\ntype Query {{ a{name}: Thing }} type Thing @key(fields: "id") '
        f"{{ id: ID! size: {kind} @shareable }}"
        for name, kind in (("one", "Int"), ("two", "String"))
    }
    with pytest.raises(CompositionError) as raised:
        compose(
            {
                name: text.replace('["@key"]', '["@key", "@shareable"]')
                for name, text in texts.items()
            }
        )
    for said in ("Thing.size", '"one"', '"two"'):
        assert said in str(raised.value)


def test_nothing_is_generated_of_subgraphs_that_do_not_compose(monkeypatch: pytest.MonkeyPatch):
    """`make generate` ends with the subgraph and the field, as its check does."""
    monkeypatch.setitem(schemas.SUBGRAPHS, "other", lambda: _Clash())
    with pytest.raises(SystemExit) as raised:
        main(["--check"])
    assert "Image.nsfw" in str(raised.value)
    assert '"other"' in str(raised.value)


class _Clash:
    """A subgraph that claims a field of another one."""

    def as_str(self) -> str:
        return f'{LINK}\ntype Image @key(fields: "id") {{ id: ID! nsfw: Int }}'


def test_every_subgraph_is_in_the_supergraph():
    """All six contribute to one entity."""
    supergraph = (FOLDER / "supergraph.graphql").read_text("utf-8")
    for name in SUBGRAPHS:
        assert f'@join__graph(name: "{name}"' in supergraph
        assert f'@join__type(graph: {name.upper()}, key: "id")' in supergraph


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("new: Int ", ""), "Image.new was removed"),
        (("CAT ", ""), "Kind.CAT was removed"),
        (("image(id: ID!)", "image(id: ID!, policy: String!)"), "policy"),
        (("new: Int", "new: String"), "Image.new changed type from Int to String"),
    ],
)
def test_what_clients_rely_on_may_not_go(change: tuple[str, str], said: str):
    """A removed field or value, a required argument and another type break clients."""
    (found,) = breaking_changes(BEFORE, BEFORE.replace(*change))
    assert said in found


@pytest.mark.parametrize(
    "change",
    [
        ('old: Int @deprecated(reason: "Use `new`.") ', ""),
        (' DOG @deprecated(reason: "No dogs.")', ""),
        ("new: Int", "new: Int more: Int"),
        ("image(id: ID!)", "image(id: ID!, policy: String)"),
    ],
)
def test_what_was_deprecated_may_go_and_more_may_come(change: tuple[str, str]):
    """Removing what was deprecated, and adding what nobody must know, break nobody."""
    assert breaking_changes(BEFORE, BEFORE.replace(*change)) == []
