"""Selections of partial answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidArgument
from services.rest.fields import MAX_REMEMBERED, WHOLE, Selector, Shape

SHAPE: Shape = {
    "id": None,
    "image": {"width": None, "height": None},
    "reasons": {"code": None, "evidence": {"model": None, "score": None}},
}
ANSWER = {
    "id": "cat",
    "image": {"width": 4, "height": 3},
    "reasons": [
        {"code": "A", "evidence": [{"model": "m", "score": 1.0}]},
        {"code": "B", "evidence": []},
    ],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("id", {"id": "cat"}),
        ("image", {"image": {"width": 4, "height": 3}}),
        ("image(width)", {"image": {"width": 4}}),
        ("image/width", {"image": {"width": 4}}),
        ("image/height,image/width", {"image": {"width": 4, "height": 3}}),
        ("image(width),image", {"image": {"width": 4, "height": 3}}),
        ("image,image(width)", {"image": {"width": 4, "height": 3}}),
        ("reasons/code", {"reasons": [{"code": "A"}, {"code": "B"}]}),
        (
            "reasons/evidence(score)",
            {"reasons": [{"evidence": [{"score": 1.0}]}, {"evidence": []}]},
        ),
        (
            "reasons(evidence/model,code),id",
            {
                "id": "cat",
                "reasons": [
                    {"code": "A", "evidence": [{"model": "m"}]},
                    {"code": "B", "evidence": []},
                ],
            },
        ),
    ],
)
def test_selects(fields: str, expected: object):
    """A selection keeps exactly what it names, in objects and in every item of lists."""
    assert Selector(SHAPE).select(fields).apply(ANSWER) == expected


def test_keeps_the_answers_order():
    """Properties come in the answer's order, whatever order the selection has."""
    assert list(Selector(SHAPE).select("image,id").apply(ANSWER)) == ["id", "image"]


def test_null_stays_null():
    """A property that is null has nothing to select from, and stays null."""
    assert Selector(SHAPE).select("image/width").apply({**ANSWER, "image": None}) == {"image": None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("id,image", "image,id"),
        ("image(width,height)", "image/height,image/width"),
        ("id,id,id", "id"),
        ("image(width),image", "image"),
    ],
)
def test_one_key_for_one_selection(one: str, other: str):
    """Spellings of one selection have one key."""
    selector = Selector(SHAPE)
    assert selector.select(one).key == selector.select(other).key


def test_keys_tell_selections_apart():
    """Different selections have different keys, and none is that of everything."""
    spellings = ("id", "image", "image/width", "image/height", "reasons/code", "id,image")
    keys = {Selector(SHAPE).select(fields).key for fields in spellings}
    assert len(keys) == len(spellings)
    assert WHOLE.key not in keys


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("", "a name is expected at the end"),
        ("dog", "unknown field 'dog'; known are: id, image, reasons"),
        ("image/depth", "unknown field 'image/depth'; known are: width, height"),
        ("image(depth)", "unknown field 'image/depth'"),
        ("id/x", "'id' has no fields of its own"),
        ("id(x)", "'id' has no fields of its own"),
        ("id,", "a name is expected at the end"),
        (",id", "a name is expected, not ','"),
        ("image()", "a name is expected, not '\\)'"),
        ("image(width", "a parenthesis is not closed"),
        ("image(width))", "unexpected '\\)'"),
        ("id image", "unexpected ' '"),
        ("*", "unexpected '\\*'"),
        ("id;", "unexpected ';'"),
        ("id," * 400, "at most|characters"),
    ],
)
def test_refuses(fields: str, words: str):
    """What is no selection of this answer is refused, in words that help."""
    with pytest.raises(InvalidArgument, match=words) as failure:
        Selector(SHAPE).select(fields)
    assert failure.value.field == "fields"


@given(st.text(alphabet="idmagewth,/()*", max_size=60))
def test_never_fails_otherwise(fields: str):
    """Any text is a selection or InvalidArgument, and a selection never adds to an answer."""
    try:
        projection = Selector(SHAPE).select(fields)
    except InvalidArgument:
        return
    assert projection.apply(ANSWER).keys() <= ANSWER.keys()


def test_compiles_once_and_forgets():
    """A selection is compiled once, and a client cannot make the facade remember without end."""
    selector = Selector(SHAPE)
    first = selector.select("id")
    assert selector.select("id") is first
    for count in range(2, MAX_REMEMBERED // 2 + 2):
        selector.select(",".join(["id"] * count))
        selector.select(",".join(["image"] * count))
    assert selector.select("id") is not first
