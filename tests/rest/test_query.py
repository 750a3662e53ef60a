"""Query strings, taken strictly."""

from __future__ import annotations

import pytest

from services import names
from services.errors import InvalidArgument
from services.rest import query


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", {}),
        ("policy=a", {"policy": "a"}),
        ("fields=x&policy=a", {"policy": "a", "fields": "x"}),
        ("policy=a&policy=a", {"policy": "a"}),
        ("fields=a%28b%29", {"fields": "a(b)"}),
        ("policy=a&", {"policy": "a"}),
    ],
)
def test_parses(raw: str, expected: dict[str, str]):
    """Known parameters in any order; exact duplicates count once."""
    assert query.parse(raw, "policy", "fields") == expected


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        ("polcy=a", "polcy", "known are: policy, fields"),
        ("policy=a&policy=b", "policy", "two values"),
        ("policy=", "policy", "empty"),
        ("policy", "policy", "empty"),
        ("policy=%ff", "query", "UTF-8"),
        ("&".join(["policy=a"] * 33), "query", "too many"),
    ],
)
def test_refuses(raw: str, field: str, words: str):
    """Everything else is refused by name."""
    with pytest.raises(InvalidArgument, match=words) as failure:
        query.parse(raw, "policy", "fields")
    assert failure.value.field == field


def test_says_that_there_are_none():
    """Where no parameter is known the error says so."""
    with pytest.raises(InvalidArgument, match="there are none here"):
        query.parse("a=1")


@pytest.mark.parametrize(
    ("parameters", "written"),
    [
        ({}, "/p"),
        ({"policy": "default"}, "/p"),
        ({"release": "r", "fields": "a(b),c/d"}, "/p?fields=a(b),c/d&release=r"),
        ({"release": "r", "policy": "strict"}, "/p?policy=strict&release=r"),
        ({"cursor": "a b&c"}, "/p?cursor=a%20b%26c"),
    ],
)
def test_canonical_urls(parameters: dict[str, str], written: str):
    """A URL has its parameters sorted, and says nothing that goes without saying."""
    assert query.canonical_url("/p", parameters) == written


@pytest.mark.parametrize("raw", ["", "0" * 15, "0" * 17, "A" * 16, "current", "0" * 16 + "\n"])
def test_release_names(raw: str):
    """A release's name is 16 lower-case hexadecimal digits."""
    with pytest.raises(InvalidArgument, match="hexadecimal"):
        query.release_name(raw)
    assert query.release_name("0123456789abcdef") == "0123456789abcdef"


@pytest.mark.parametrize("raw", ["0", "11", "-1", "1.0", "\u0661", "1e1", " 1"])
def test_whole_numbers(raw: str):
    """A number is from 1 to its limit, or not there."""
    with pytest.raises(InvalidArgument, match="from 1 to 10") as failure:
        query.whole_number({"limit": raw}, "limit", 10)
    assert (failure.value.field, failure.value.limit) == ("limit", "10")
    assert [query.whole_number({"limit": each}, "limit", 10) for each in ("1", "10")] == [1, 10]
    assert query.whole_number({}, "limit", 10) == 0


@pytest.mark.parametrize("raw", ["", "cat", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_image_ids(raw: str):
    """An image id is 64 lower-case hexadecimal digits, and nothing around them."""
    with pytest.raises(InvalidArgument, match="SHA-256"):
        names.image_id(raw)
    assert names.image_id("0123456789abcdef" * 4) == "0123456789abcdef" * 4
