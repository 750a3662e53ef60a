"""What names a release, and that a name is of one release alone."""

from __future__ import annotations

import json

import pytest

from services.releases.release import NAME, Release
from tests.releases.stores import A, B

MODELS = {"nsfw": A, "ocr": B}
POLICIES = {"default": "d1", "strict": "s1"}


def test_name_follows_from_the_parts():
    """The order of the parts does not count; every one of them does."""
    release = Release(MODELS, "g1", POLICIES)
    reversed_parts = [dict(reversed(parts.items())) for parts in (MODELS, POLICIES)]
    assert Release(reversed_parts[0], "g1", reversed_parts[1]).name == release.name
    assert NAME.fullmatch(release.name)
    others = [
        Release({**MODELS, "nsfw": B}, "g1", POLICIES),
        Release({"nsfw": A}, "g1", POLICIES),
        Release(MODELS, "g2", POLICIES),
        Release(MODELS, "g1", {**POLICIES, "strict": "s2"}),
        Release(POLICIES, "g1", MODELS),
    ]
    assert len({release.name, *(other.name for other in others)}) == 6


def test_having_replaces_versions():
    """Given versions take the place of a release's own; the same ones make the same release."""
    release = Release(MODELS, "g1", POLICIES)
    assert release.having({"nsfw": A}, {"default": "d1"}) is release
    other = release.having({"nsfw": B}, {"strict": "s2"})
    assert other == Release({"nsfw": B, "ocr": B}, "g1", {"default": "d1", "strict": "s2"})
    assert other.name != release.name


def test_is_read_as_it_was_written():
    """A release comes back out of its JSON, which holds its parts as they are called."""
    release = Release(MODELS, "", POLICIES)
    content = json.loads(release.encode())
    assert content == {"models": MODELS, "gallery": "", "policies": POLICIES}
    assert Release.of(content, release.name) == release


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"models": {}, "policies": {}},
        {"models": {"nsfw": 1}, "gallery": "", "policies": {}},
        {"models": MODELS, "gallery": None, "policies": POLICIES},
        {"models": MODELS, "gallery": "", "policies": []},
        {"models": {**MODELS, "nsfw": B}, "gallery": "", "policies": POLICIES},
    ],
)
def test_what_is_not_the_release(content: object):
    """JSON that is no release, or another one than its name says, is refused."""
    with pytest.raises(ValueError, match=r"has no|is the release"):
        Release.of(content, Release(MODELS, "", POLICIES).name)
