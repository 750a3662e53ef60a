"""What subgraphs say of who made an answer, and whether anybody may keep it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.federation.world import World
from visionmesh.moderation.v1 import moderation_pb2

UNKNOWN = "f" * 64


async def test_a_release_is_named_and_can_be_pinned(graph: World):
    """An answer names the release that made it; asked of that release, models get its versions."""
    answer = await graph.entities("nsfw", "nsfw { score }", [UNKNOWN])
    release = answer.headers["x-visionmesh-release"]
    assert answer.headers["Cache-Control"] == "no-cache"
    pinned = {"x-visionmesh-release": release}
    again = await graph.entities("nsfw", "nsfw { score }", [UNKNOWN], pinned)
    assert again.headers["x-visionmesh-release"] == release
    assert [call.model_version for call in graph.nsfw.calls] == ["", graph.nsfw.version]
    unknown = await graph.entities("nsfw", "id", [UNKNOWN], {"x-visionmesh-release": "0" * 16})
    assert unknown.codes == ["RELEASE_NOT_FOUND"]


async def test_an_answer_of_two_versions_has_no_name(graph: World):
    """While a model is exchanged, an answer that two versions made is nobody's to keep."""
    graph.nsfw.versions = {UNKNOWN: "a" * 16}
    answer = await graph.entities("nsfw", "nsfw { model { version } }", [UNKNOWN, "e" * 64])
    assert answer.codes == []
    assert answer.headers["Cache-Control"] == "no-store"
    assert "x-visionmesh-release" not in answer.headers


@pytest.mark.parametrize(
    "change",
    [
        {"decision": moderation_pb2.DECISION_UNDETERMINED, "missing": ["nsfw"]},
        {"decision": moderation_pb2.DECISION_REJECTED, "missing": ["ocr"]},
        {"decision": moderation_pb2.DECISION_REJECTED, "unknown_codes": ["NUDITY"]},
        {"decision": moderation_pb2.DECISION_APPROVED},
    ],
    ids=["open", "something missing", "a rule unknown", "final"],
)
async def test_a_verdict_that_is_not_final_has_no_name(graph: World, change: dict[str, Any]):
    """What the next verdict may say otherwise nobody may keep, whoever gives it a release."""
    (image,) = await graph.stored(1)
    standing = await graph.post("images/standing", {"ids": [image]})
    verdict = graph.moderation.verdict
    verdict.MergeFrom(moderation_pb2.Verdict(**change))
    verdict.release = standing.headers["x-visionmesh-release"]
    answer = await graph.entities("moderation", "moderation { decision }", [image])
    assert answer.codes == []
    is_final = not verdict.missing and not verdict.unknown_codes
    assert ("x-visionmesh-release" in answer.headers) == is_final
    assert answer.headers["Cache-Control"] == ("no-cache" if is_final else "no-store")


async def test_a_pinned_verdict_is_its_releases_or_none(graph: World):
    """A verdict of another release than the one that was asked for is an error at its place."""
    (image,) = await graph.stored(1)
    standing = await graph.post("images/standing", {"ids": [image]})
    pinned = {"x-visionmesh-release": standing.headers["x-visionmesh-release"]}
    graph.moderation.verdict.release = "3" * 16
    answer = await graph.entities("moderation", "moderation { decision }", [image], pinned)
    assert answer.json["data"]["_entities"][0]["moderation"] is None
    assert answer.codes == ["INTERNAL"]
