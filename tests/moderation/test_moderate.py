"""Moderate over real gRPC, with a model that answers, fails, hangs or is not there."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest

from services import errors
from services.errors import VisionmeshError
from services.limits import MAX_INLINE_BYTES
from services.serving.status import from_status
from tests.moderation.world import APPROVED, REJECTED, assert_missing, refs, world
from tests.support.mesh import FakeNsfw, digests
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome
from visionmesh.nsfw.v1 import nsfw_pb2


def decisions(outcomes: list[ModerationOutcome]) -> list[int]:
    return [outcome.verdict.decision for outcome in outcomes]


async def test_verdicts_in_order(tmp_path: Path):
    """Each image gets its own verdict at its own place, of one call to the model."""
    ids = digests(128)
    async with world(tmp_path) as w:
        w.nsfw.scores = {
            digest: 0.95 if index % 3 == 0 else 0.1 for index, digest in enumerate(ids)
        }
        outcomes = await w.moderation.moderate(refs(ids))
        assert [outcome.digest for outcome in outcomes] == ids
        expected = [REJECTED if index % 3 == 0 else APPROVED for index in range(128)]
        assert decisions(outcomes) == expected
        assert len(w.nsfw.calls) == 1


async def test_verdict_says_what_made_it(tmp_path: Path):
    """Reason with evidence, policy and its version, model version, and the image's size."""
    [digest] = digests(1)
    async with world(tmp_path) as w:
        w.nsfw.scores = {digest: 0.95}
        [outcome] = await w.moderation.moderate(refs([digest]), "default")
        [policy] = await w.moderation.list_policies()
    assert (outcome.image_size.width, outcome.image_size.height) == (640, 480)
    verdict = outcome.verdict
    assert verdict.reasons == [
        moderation_pb2.Reason(
            code="NUDITY",
            severity=moderation_pb2.SEVERITY_HIGH,
            message="The image is very likely not safe for work.",
            evidence=[moderation_pb2.Evidence(model="nsfw", label="nsfw", score=0.95)],
        )
    ]
    assert (verdict.policy, verdict.policy_version) == (policy.name, policy.version)
    assert dict(verdict.model_versions) == {"nsfw": w.nsfw.version}
    assert not verdict.missing
    assert not verdict.unknown_codes
    assert not verdict.model_errors


async def test_model_is_not_there(tmp_path: Path):
    """Nobody listening where the model should be leaves the verdict open, with a reason."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with world(tmp_path, address=address) as w:
            [outcome] = await w.moderation.moderate(refs(await w.upload(1)))
    assert_missing(outcome, errors.ModelUnavailable)
    assert address not in str(outcome)


async def test_model_hangs(tmp_path: Path):
    """A model that never answers is missing from verdicts that arrive before the deadline."""
    async with world(tmp_path) as w:
        w.nsfw.hanging = True
        outcomes = await w.moderation.moderate(refs(await w.upload(3)), timeout_s=3.0)
        for outcome in outcomes:
            assert_missing(outcome, errors.DeadlineExceeded)
        await asyncio.wait_for(w.nsfw.cancelled.wait(), 10)


class HangingNsfw(FakeNsfw):
    """Says that it was asked, and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging = True
        self.asked = asyncio.Event()

    async def Classify(
        self, request: nsfw_pb2.ClassifyRequest, context: Any
    ) -> nsfw_pb2.ClassifyResponse:
        self.asked.set()
        return await super().Classify(request, context)


async def test_caller_that_leaves_ends_the_work(tmp_path: Path):
    """When the client hangs up, the model's call is cancelled."""
    nsfw = HangingNsfw()
    async with world(tmp_path, nsfw=nsfw) as w, asyncio.timeout(10):
        call = asyncio.create_task(w.moderation.moderate(refs(digests(1))))
        await nsfw.asked.wait()
        call.cancel()
        await nsfw.cancelled.wait()


MODELS_FAULT = [
    errors.ModelUnavailable("down"),
    errors.StoreUnavailable("no store"),
    errors.Overloaded("the queue is full"),
    errors.DeadlineExceeded("too late"),
    errors.Cancelled("stopping"),
    errors.NotFound("no such method"),
    errors.Internal("internal error"),
]
IMAGES_FAULT = [
    errors.ImageNotFound("there is no image", field="digest"),
    errors.CorruptImage("cannot be decoded", field="images.data"),
    errors.DigestMismatch("other bytes", field="images.data"),
    errors.UnsupportedFormat("is text"),
    errors.TooManyPixels("is too big", limit="50 megapixels"),
]


@pytest.mark.parametrize("error", MODELS_FAULT, ids=lambda error: error.code)
async def test_model_fails_for_one_image(tmp_path: Path, error: VisionmeshError):
    """What is the model's fault leaves that image undetermined, and the others are judged."""
    async with world(tmp_path) as w:
        ids = await w.upload(3)
        w.nsfw.errors = {ids[1]: error}
        w.nsfw.scores = {ids[2]: 0.95}
        first, second, third = await w.moderation.moderate(refs(ids))
    assert_missing(second, type(error))
    assert decisions([first, third]) == [APPROVED, REJECTED]


@pytest.mark.parametrize("error", IMAGES_FAULT, ids=lambda error: error.code)
async def test_image_is_at_fault(tmp_path: Path, error: VisionmeshError):
    """What is the image's fault is that image's error with field and limit, and no verdict."""
    ids = digests(3)
    async with world(tmp_path) as w:
        w.nsfw.errors = {ids[1]: error}
        first, second, third = await w.moderation.moderate(refs(ids))
    assert second.WhichOneof("outcome") == "error"
    found = from_status(second.error)
    assert type(found) is type(error)
    assert (found.message, found.field, found.limit) == (error.message, error.field, error.limit)
    assert decisions([first, third]) == [APPROVED, APPROVED]


@pytest.mark.parametrize("error", MODELS_FAULT, ids=lambda error: error.code)
async def test_model_fails_as_a_whole(tmp_path: Path, error: VisionmeshError):
    """A call that fails leaves every image of it undetermined, and fails no call of moderation."""
    async with world(tmp_path) as w:
        w.nsfw.error = error
        outcomes = await w.moderation.moderate(refs(await w.upload(2)))
    for outcome in outcomes:
        assert_missing(outcome, type(error))


@pytest.mark.parametrize("error", IMAGES_FAULT, ids=lambda error: error.code)
async def test_whole_call_is_never_the_images_fault(tmp_path: Path, error: VisionmeshError):
    """A model that refuses a call which keeps the contract is at fault itself."""
    async with world(tmp_path) as w:
        w.nsfw.error = error
        [outcome] = await w.moderation.moderate(refs(await w.upload(1)))
    assert_missing(outcome, errors.Internal)
    assert outcome.verdict.model_errors["nsfw"].message == "internal error"


async def test_bug_in_a_model_stays_there(tmp_path: Path):
    """A model that crashes is missing, and its words reach nobody."""
    async with world(tmp_path) as w:
        w.nsfw.error = RuntimeError("password is hunter2")
        [outcome] = await w.moderation.moderate(refs(await w.upload(1)))
    assert_missing(outcome, errors.Internal)
    assert "hunter2" not in str(outcome)


async def test_same_image_twice(tmp_path: Path):
    """An image that is named twice gets its verdict twice."""
    first, second = digests(2)
    async with world(tmp_path) as w:
        w.nsfw.scores = {first: 0.95}
        outcomes = await w.moderation.moderate(refs([first, second, first]))
    assert [outcome.digest for outcome in outcomes] == [first, second, first]
    assert decisions(outcomes) == [REJECTED, APPROVED, REJECTED]


async def test_inline_bytes_go_on_to_the_model(tmp_path: Path):
    """Inline bytes reach the model as they came; moderation needs no store for them."""
    data = b"an image, perhaps"
    digest = hashlib.sha256(data).hexdigest()
    async with world(tmp_path) as w:
        await w.moderation.moderate([ImageRef(digest=digest, data=data)])
        [call] = w.nsfw.calls
    assert list(call.images) == [ImageRef(digest=digest, data=data)]


async def test_too_many_inline_bytes(tmp_path: Path):
    """More inline bytes than a call may carry are refused before any model is asked."""
    first, second = digests(2)
    half = bytes(MAX_INLINE_BYTES // 2 + 1)
    async with world(tmp_path) as w:
        with pytest.raises(errors.ImageTooLarge) as failure:
            await w.moderation.moderate(
                [ImageRef(digest=first, data=half), ImageRef(digest=second, data=half)]
            )
        assert w.nsfw.calls == []
    assert (failure.value.field, failure.value.limit) == ("images", f"{MAX_INLINE_BYTES} bytes")


@pytest.mark.parametrize(
    ("images", "policy", "field"),
    [
        (refs(digests(129)), "", "images"),
        ([], "", "images"),
        (refs(["ABC"]), "", "images[0].digest"),
        (refs([*digests(1), "0" * 63]), "", "images[1].digest"),
        (refs(digests(1)), "No Policy", "policy"),
    ],
)
async def test_malformed_request(tmp_path: Path, images: list[ImageRef], policy: str, field: str):
    """A request that breaks the contract's rules is refused with its field; no model is asked."""
    async with world(tmp_path) as w:
        with pytest.raises(errors.InvalidArgument) as failure:
            await w.moderation.moderate(images, policy)
        assert w.nsfw.calls == []
    assert failure.value.field == field


async def test_unknown_policy(tmp_path: Path):
    """A policy that is not there is PolicyNotFound, and no model is asked."""
    async with world(tmp_path) as w:
        with pytest.raises(errors.PolicyNotFound, match="'lax'; there are: default"):
            await w.moderation.moderate(refs(digests(1)), "lax")
        assert w.nsfw.calls == []


async def test_policies_are_listed(tmp_path: Path):
    """A policy says its name, version, codes and the models that it reads."""
    async with world(tmp_path) as w:
        [policy] = await w.moderation.list_policies()
    assert policy.name == "default"
    assert (list(policy.codes), list(policy.models)) == (["NUDITY"], ["nsfw"])
    assert len(policy.version) == 16
    assert policy.description
