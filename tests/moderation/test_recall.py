"""Evaluate over real gRPC: verdicts from stored results, without any model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from services import errors
from services.releases.releases import TTL_S
from services.releases.remembered import FAILURE_TTL_S
from services.results.keys import ResultKey
from services.serving.status import from_status
from tests.moderation.world import (
    APPROVED,
    REJECTED,
    UNDETERMINED,
    BrokenStore,
    HangingStore,
    world,
)
from tests.support.mesh import digests
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult


async def test_applies_the_policy_to_what_is_stored(tmp_path: Path):
    """Stored results decide, with the image's size and the model's version; nothing is run."""
    async with world(tmp_path) as w:
        good, bad = await w.upload(2)
        await w.store(good, 0.1)
        await w.store(bad, 0.95)
        outcomes = await w.moderation.evaluate([bad, good, bad])
        assert w.nsfw.calls == []
    assert [outcome.digest for outcome in outcomes] == [bad, good, bad]
    assert [o.verdict.decision for o in outcomes] == [REJECTED, APPROVED, REJECTED]
    assert (outcomes[0].image_size.width, outcomes[0].image_size.height) == (40, 30)
    assert dict(outcomes[0].verdict.model_versions) == {"nsfw": w.nsfw.version}
    assert outcomes[0].verdict.reasons[0].evidence[0].score == 0.95


async def test_what_is_not_stored_is_missing(tmp_path: Path):
    """Without a stored result the verdict is open, says why, and no model runs."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        [outcome] = await w.moderation.evaluate([digest])
        assert w.nsfw.calls == []
    assert outcome.verdict.decision == UNDETERMINED
    assert outcome.verdict.missing == ["nsfw"]
    error = from_status(outcome.verdict.model_errors["nsfw"])
    assert type(error) is errors.ResultNotFound
    assert "no stored result" in error.message


async def test_image_that_is_not_there(tmp_path: Path):
    """An unknown image is its own error, also when a result of it is left; others are judged."""
    [unknown] = digests(1)
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        await w.store(unknown, 0.1)
        first, second = await w.moderation.evaluate([unknown, digest])
    assert type(from_status(first.error)) is errors.ImageNotFound
    assert second.verdict.decision == APPROVED


async def test_result_of_another_version_is_missing(tmp_path: Path):
    """Only results of the model's current version count."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1, version="fedcba9876543210")
        [outcome] = await w.moderation.evaluate([digest])
    assert outcome.verdict.missing == ["nsfw"]


@pytest.mark.parametrize(
    "stored", [b"", b"not protobuf", NsfwResult(score=math.nan).SerializeToString()]
)
async def test_broken_result_is_missing(tmp_path: Path, stored: bytes):
    """A stored result that is cut, empty or impossible approves nothing."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.results.put(ResultKey(digest, "nsfw", w.nsfw.version), stored)
        [outcome] = await w.moderation.evaluate([digest])
    assert outcome.verdict.decision == UNDETERMINED
    assert list(outcome.verdict.missing) == ["nsfw"]


async def test_stored_results_are_found_while_the_model_is_down(tmp_path: Path):
    """The last known version serves as long as the model does not answer."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        await w.moderation.evaluate([digest])
        w.nsfw.error = errors.Unavailable("down")
        w.clock.now += 100 * TTL_S
        [outcome] = await w.moderation.evaluate([digest])
    assert outcome.verdict.decision == APPROVED


async def test_model_that_was_never_heard_of_is_missing(tmp_path: Path):
    """Without any known version nothing stored can be named, and the model's error says so."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        w.nsfw.error = errors.Unavailable("down")
        [outcome] = await w.moderation.evaluate([digest])
        assert outcome.verdict.decision == UNDETERMINED
        assert type(from_status(outcome.verdict.model_errors["nsfw"])) is errors.ModelUnavailable
        w.nsfw.error = None
        w.clock.now += FAILURE_TTL_S
        [outcome] = await w.moderation.evaluate([digest])
    assert outcome.verdict.decision == APPROVED


async def test_store_fails(tmp_path: Path):
    """Without the store nothing can be said of an image: that is its error, not a verdict."""
    async with world(tmp_path, images=BrokenStore) as w:
        [outcome] = await w.moderation.evaluate(digests(1))
    assert type(from_status(outcome.error)) is errors.StoreUnavailable


async def test_store_hangs(tmp_path: Path):
    """At the deadline the images that are finished have their outcome, the others say so."""
    async with world(tmp_path, images=HangingStore) as w:
        first, second = await w.moderation.evaluate(digests(2), timeout_s=3.0)
    assert type(from_status(first.error)) is errors.ImageNotFound
    assert type(from_status(second.error)) is errors.DeadlineExceeded


@pytest.mark.parametrize(
    ("ids", "policy", "kind", "field"),
    [
        (digests(129), "", errors.InvalidArgument, "digests"),
        ([], "", errors.InvalidArgument, "digests"),
        ([*digests(1), "abc"], "", errors.InvalidArgument, "digests[1]"),
        (digests(1), "lax", errors.PolicyNotFound, "policy"),
    ],
)
async def test_bad_request(
    tmp_path: Path, ids: list[str], policy: str, kind: type[errors.VisionmeshError], field: str
):
    """A request that breaks the contract's rules, or names no policy, is refused."""
    async with world(tmp_path) as w:
        with pytest.raises(kind) as failure:
            await w.moderation.evaluate(ids, policy)
    assert failure.value.field == field
