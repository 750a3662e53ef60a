"""Entity tags and If-None-Match."""

from __future__ import annotations

import pytest

from services.rest.etags import etag, matches, names

TAG = etag("digest", "model", "version")


def test_follows_from_its_parts():
    """Equal parts give equal tags, and no two ways to split them are one."""
    assert etag("a", "b") == etag("a", "b")
    assert len({etag("a", "b"), etag("ab"), etag("a", "b", ""), etag("b", "a")}) == 4


@pytest.mark.parametrize(
    "header",
    [TAG, f"W/{TAG}", f'"x", {TAG}', f'"x",W/"y",W/{TAG}', f"  {TAG}  ", "*", " * "],
)
def test_matches(header: str):
    """A tag is found strong or weak, alone or in a list, and `*` names every tag."""
    assert matches(header, TAG)
    assert names(header, TAG) == (header.strip() != "*"), "`*` names no tag"


@pytest.mark.parametrize(
    "header", ["", '"x"', TAG.strip('"'), f'"{TAG[1:5]}"', '"*"', f"w/{TAG[:-1]}", '"x" *']
)
def test_does_not_match(header: str):
    """Other tags, and what is no tag, do not match."""
    assert not matches(header, TAG)
