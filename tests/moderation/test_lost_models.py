"""Moderate while a model is lost: what it said earlier counts, what is not there is not judged."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from services import errors
from services.media.objects import Objects
from services.media.record import ImageRecord
from services.media.store import ImageStore
from services.moderation.batch import CONCURRENCY
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS
from services.moderation.stored import StoredReplies
from services.releases.releases import Releases
from services.results.keys import ResultKey
from services.results.results import Results
from services.serving import deadline, tenancy
from services.serving.status import from_status
from tests.moderation.world import (
    APPROVED,
    REJECTED,
    UNDETERMINED,
    BrokenStore,
    HangingStore,
    World,
    assert_missing,
    photo,
    refs,
    world,
)
from tests.support.mesh import FakeNsfw, adding, digests, mesh_of
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome

DOWN = errors.Unavailable("down")
HANG_S = 6.0
"""Deadline of calls whose model hangs: what moderation keeps of it is ample for a few files."""


async def heard_of(w: World) -> None:
    """Let moderation hear the model's version, as any answer tells it."""
    await w.moderation.moderate(refs(digests(1)))
    w.nsfw.calls.clear()


def assert_decided(outcome: ModerationOutcome, decision: int, version: str) -> None:
    """There is a verdict from that version, with the image's size and nothing missing."""
    verdict = outcome.verdict
    assert verdict.decision == decision
    assert dict(verdict.model_versions) == {"nsfw": version}
    assert not verdict.missing
    assert not verdict.unknown_codes
    assert not verdict.model_errors
    assert (outcome.image_size.width, outcome.image_size.height) == (40, 30)


def assert_error(outcome: ModerationOutcome, kind: type[errors.VisionmeshError]) -> None:
    """There is no verdict, but what is wrong with the image."""
    assert outcome.WhichOneof("outcome") == "error"
    assert type(from_status(outcome.error)) is kind


async def test_stored_results_decide(tmp_path: Path):
    """A model that is down has its stored results speak for it, by one call that failed."""
    async with world(tmp_path) as w:
        good, bad = await w.upload(2)
        await w.store(good, 0.1)
        await w.store(bad, 0.95)
        await heard_of(w)
        w.nsfw.error = DOWN
        first, second = await w.moderation.moderate(refs([bad, good]))
        assert len(w.nsfw.calls) == 1
        assert_decided(first, REJECTED, w.nsfw.version)
        assert_decided(second, APPROVED, w.nsfw.version)
    assert first.verdict.reasons[0].evidence[0].score == 0.95


async def test_model_hangs(tmp_path: Path):
    """A model that hangs leaves the time to find what is stored, and what is not there."""
    async with world(tmp_path) as w:
        stored, fresh = await w.upload(2)
        await w.store(stored, 0.95)
        await heard_of(w)
        w.nsfw.hanging = True
        first, second, third = await w.moderation.moderate(
            refs([stored, fresh, *digests(1)]), timeout_s=HANG_S
        )
    assert_decided(first, REJECTED, w.nsfw.version)
    assert_missing(second, errors.DeadlineExceeded)
    assert_error(third, errors.ImageNotFound)


async def test_result_of_another_version_is_missing(tmp_path: Path):
    """Only the last known version's result speaks for a model."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1, version="fedcba9876543210")
        await heard_of(w)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate(refs([digest]))
    assert_missing(outcome, errors.ModelUnavailable)


async def test_newer_version_is_the_last_known(tmp_path: Path):
    """An answer of a new version is believed at once, whatever was asked a moment before."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        await w.moderation.evaluate([digest])
        w.nsfw.version = "fedcba9876543210"
        await w.store(digest, 0.95)
        await heard_of(w)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate(refs([digest]))
    assert_decided(outcome, REJECTED, "fedcba9876543210")


async def test_model_that_was_never_heard_of_is_missing(tmp_path: Path):
    """Without any known version nothing stored can be named, and no model is asked for it."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate(refs([digest]))
    assert_missing(outcome, errors.ModelUnavailable)


@pytest.mark.parametrize("stored", [b"", b"not protobuf"])
async def test_broken_result_is_missing(tmp_path: Path, stored: bytes):
    """A stored result that cannot be read approves nothing."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.results.put(ResultKey(digest, "nsfw", w.nsfw.version), stored)
        await heard_of(w)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate(refs([digest]))
    assert_missing(outcome, errors.ModelUnavailable)


async def test_unknown_image(tmp_path: Path):
    """An image that is not there is not judged, also when a result of it is left."""
    [unknown] = digests(1)
    async with world(tmp_path) as w:
        await w.store(unknown, 0.1)
        await heard_of(w)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate(refs([unknown]))
    assert_error(outcome, errors.ImageNotFound)
    assert from_status(outcome.error).field == "digest"


def inline(data: bytes, digest: str = "") -> ImageRef:
    return ImageRef(digest=digest or hashlib.sha256(data).hexdigest(), data=data)


async def test_inline_bytes_without_an_image(tmp_path: Path):
    """Bytes that are not stored are an image nevertheless: nothing is known of it yet."""
    async with world(tmp_path) as w:
        await heard_of(w)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate([inline(photo(0))])
    assert_missing(outcome, errors.ModelUnavailable)


async def test_inline_bytes_of_a_stored_image(tmp_path: Path):
    """Bytes of a stored image have its stored result, and other bytes under its digest have not."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        await heard_of(w)
        w.nsfw.error = DOWN
        right, wrong = await w.moderation.moderate([inline(photo(0)), inline(photo(1), digest)])
    assert_decided(right, APPROVED, w.nsfw.version)
    assert_error(wrong, errors.DigestMismatch)


async def test_part_of_a_batch_fails(tmp_path: Path):
    """Answers stay as they are; each failure is completed, or not, on its own."""
    async with world(tmp_path) as w:
        answered, stored, fresh, corrupt = await w.upload(4)
        [unknown] = digests(1)
        await w.store(answered, 0.95)
        await w.store(stored, 0.95)
        await w.store(corrupt, 0.1)
        await heard_of(w)
        w.nsfw.errors = dict.fromkeys([stored, fresh, unknown], errors.Overloaded("full"))
        w.nsfw.errors[corrupt] = errors.CorruptImage("cannot be decoded")
        outcomes = await w.moderation.moderate(refs([answered, stored, fresh, unknown, corrupt]))
    assert outcomes[0].verdict.decision == APPROVED
    assert_decided(outcomes[1], REJECTED, w.nsfw.version)
    assert_missing(outcomes[2], errors.Overloaded)
    assert_error(outcomes[3], errors.ImageNotFound)
    assert_error(outcomes[4], errors.CorruptImage)


async def test_answers_need_no_store(tmp_path: Path):
    """While the models answer, nothing is looked up."""
    async with world(tmp_path, images=BrokenStore) as w:
        [outcome] = await w.moderation.moderate(refs(digests(1)))
    assert outcome.verdict.decision == APPROVED


async def test_store_is_down_too(tmp_path: Path):
    """Without model and store the verdict is open, because of the model."""
    async with world(tmp_path, images=BrokenStore) as w:
        await heard_of(w)
        w.nsfw.error = DOWN
        [outcome] = await w.moderation.moderate(refs(digests(1)))
    assert_missing(outcome, errors.ModelUnavailable)


async def test_store_hangs_too(tmp_path: Path):
    """A store that hangs costs the images that it hangs for, and no verdict its deadline."""
    async with world(tmp_path, images=HangingStore) as w:
        w.nsfw.error = DOWN
        first, second = await w.moderation.moderate(refs(digests(2)), timeout_s=2.0)
    assert_error(first, errors.ImageNotFound)
    assert second.verdict.decision == UNDETERMINED
    assert_missing(second, errors.ModelUnavailable)


class CountingStore(ImageStore):
    """Knows when it is asked, and answers when it is told to."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects)
        self.asked: list[str] = []
        self.running = 0

    async def get(self, tenant: str, digest: str) -> ImageRecord:
        self.asked.append(digest)
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1
        raise AssertionError


async def test_looks_at_few_images_at_once_and_stops_in_time():
    """A batch asks the store for some images at a time, and for none any more at the deadline."""
    objects = Objects.open("memory://")
    images, ids = CountingStore(objects), digests(128)
    async with mesh_of(adding(FakeNsfw())) as mesh:
        tenancy.act_for(tenancy.LOCAL)
        stored = StoredReplies(images, Results.over(objects), MODELS)
        fallback = Fallback(stored, Releases(objects, mesh))
        replies = [{"nsfw": DOWN} for _ in ids]
        with deadline.limit(0.2):
            found = await fallback.complete(refs(ids), replies)
    assert found == replies
    assert images.asked == list(ids[:CONCURRENCY])
    assert images.running == 0
