"""The moderator with several models, also such that break their promises."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from services import errors
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.media.objects import Objects
from services.media.store import ImageStore
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, ModelSource
from services.moderation.moderator import Moderator
from services.moderation.policy import Policy
from services.moderation.stored import StoredReplies
from services.moderation.types import Decision, Outcome, Verdict
from services.releases.release import Release
from services.releases.releases import Releases
from services.results.keys import ResultKey
from services.results.results import Results
from services.serving import tenancy
from services.serving.status import to_status
from tests.moderation.support import OcrResult, policy_of, rule
from tests.moderation.world import photo, refs
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.nsfw.v1.nsfw_pb2 import ClassifyOutcome, NsfwResult

NSFW = rule("nsfw.score > 0.5", "NSFW")
TEXT = rule("ocr.lines.exists(line, line == 'buy')", "TEXT")
IDS = [hashlib.sha256(photo(seed)).hexdigest() for seed in range(2)]

Answers = Callable[[Sequence[ImageRef]], Sequence[Any]]


class OcrOutcome:
    """What the outcome message of a model that is still to come will look like."""

    def __init__(self, digest: str, *lines: str, error: Exception | None = None) -> None:
        self.digest = digest
        self.result = OcrResult(lines=lines)
        self.error = to_status(error) if error else None
        self.model_version = "ocr-1"
        self.image_size = ClassifyOutcome().image_size

    def HasField(self, name: str) -> bool:
        return (name == "error") == (self.error is not None)


def classified(ref: ImageRef, score: float) -> ClassifyOutcome:
    return ClassifyOutcome(digest=ref.digest, result=NsfwResult(score=score), model_version="n")


def source(name: str, answers: Answers) -> ModelSource:
    """A model that gives these answers without any network."""

    async def ask(
        mesh: MeshClient, refs: Sequence[ImageRef], *, model_version: str = ""
    ) -> Sequence[Any]:
        return answers(refs)

    check = MODELS["nsfw"].check if name == "nsfw" else lambda result: None
    return ModelSource(name, NsfwResult if name == "nsfw" else OcrResult, ask, check)


async def moderate(
    policy: Policy,
    *sources: ModelSource,
    images: int = 2,
    stored: Mapping[str, float] = {},
    release: Release | None = None,
) -> list[Outcome]:
    """Judge two images of which some are stored, as are these scores of nsfw's last version."""
    objects, models = Objects.open("memory://"), {source.name: source for source in sources}
    store, results = ImageStore(objects), Results.over(objects)
    tenancy.act_for(tenancy.LOCAL)
    for seed in range(images):
        await store.create(tenancy.LOCAL, photo(seed))
    for digest, score in stored.items():
        await results.put(
            ResultKey(digest, "nsfw", "n"), NsfwResult(score=score).SerializeToString()
        )
    async with MeshClient("127.0.0.1:1") as unused:
        releases = Releases(objects, unused)
        releases.learn("nsfw", "n")
        fallback = Fallback(StoredReplies(store, results, models), releases)
        moderator = Moderator(unused, models, releases, fallback)
        try:
            return await moderator.moderate(refs(IDS), policy, release)
        finally:
            await releases.close()
            await results.close()


def verdicts(outcomes: list[Outcome]) -> list[Verdict]:
    assert all(isinstance(outcome.result, Verdict) for outcome in outcomes)
    return [outcome.result for outcome in outcomes if isinstance(outcome.result, Verdict)]


async def test_models_are_asked_side_by_side():
    """Every model is being asked before the first one has answered."""
    both = asyncio.Barrier(2)

    def meeting(name: str, answers: Answers) -> ModelSource:
        async def ask(
            mesh: MeshClient, refs: Sequence[ImageRef], *, model_version: str = ""
        ) -> Sequence[Any]:
            await both.wait()
            return answers(refs)

        return ModelSource(name, NsfwResult, ask, lambda result: None)

    nsfw = meeting("nsfw", lambda refs: [classified(ref, 0.9) for ref in refs])
    ocr = meeting("ocr", lambda refs: [OcrOutcome(ref.digest, "buy") for ref in refs])
    async with asyncio.timeout(10):
        found = verdicts(await moderate(policy_of(NSFW, TEXT), nsfw, ocr))
    assert [[reason.code for reason in verdict.reasons] for verdict in found] == [
        ["NSFW", "TEXT"]
    ] * 2


async def test_model_that_the_policy_does_not_read_is_not_asked():
    """Only what a rule reads is asked."""

    def never(refs: Sequence[ImageRef]) -> Sequence[Any]:
        raise AssertionError("asked")

    nsfw = source("nsfw", lambda refs: [classified(ref, 0.1) for ref in refs])
    found = verdicts(await moderate(policy_of(NSFW), nsfw, source("ocr", never)))
    assert {verdict.decision for verdict in found} == {Decision.APPROVED}


IMAGE = errors.CorruptImage("cannot be decoded")
GONE = errors.ImageNotFound("gone")
DOWN = errors.ModelUnavailable("down")


@pytest.mark.parametrize(
    ("nsfw", "ocr", "expected"),
    [
        (GONE, GONE, GONE),
        (IMAGE, GONE, IMAGE),
        (GONE, DOWN, GONE),
        (DOWN, IMAGE, IMAGE),
        (DOWN, DOWN, None),
        (None, IMAGE, None),
        (GONE, None, None),
    ],
)
async def test_whose_fault_it_is(
    nsfw: VisionmeshError | None, ocr: VisionmeshError | None, expected: VisionmeshError | None
):
    """It is the image's when a model says so and none could look at it nevertheless."""

    def classify(refs: Sequence[ImageRef]) -> Sequence[Any]:
        if nsfw:
            return [ClassifyOutcome(digest=ref.digest, error=to_status(nsfw)) for ref in refs]
        return [classified(ref, 0.1) for ref in refs]

    def read(refs: Sequence[ImageRef]) -> Sequence[Any]:
        return [OcrOutcome(ref.digest, error=ocr) for ref in refs]

    outcomes = await moderate(policy_of(NSFW, TEXT), source("nsfw", classify), source("ocr", read))
    if expected:
        for outcome in outcomes:
            assert isinstance(outcome.result, VisionmeshError)
            assert outcome.result.message == expected.message
    else:
        missing = tuple(name for name, error in (("nsfw", nsfw), ("ocr", ocr)) if error)
        assert [verdict.missing for verdict in verdicts(outcomes)] == [missing] * 2
        assert {verdict.decision for verdict in verdicts(outcomes)} == {Decision.UNDETERMINED}


BROKEN: dict[str, tuple[Answers, str]] = {
    "too few": (
        lambda refs: [classified(ref, 0.1) for ref in refs][1:],
        "gave 1 outcomes for 2 images",
    ),
    "too many": (
        lambda refs: [classified(ref, 0.1) for ref in (*refs, refs[0])],
        "gave 3 outcomes for 2 images",
    ),
    "none": (lambda refs: [], "gave 0 outcomes for 2 images"),
    "wrong order": (
        lambda refs: [classified(ref, 0.1) for ref in refs[::-1]],
        "answered for another image",
    ),
    "neither result nor error": (
        lambda refs: [ClassifyOutcome(digest=ref.digest) for ref in refs],
        "gave neither a result nor an error",
    ),
    "not a number": (
        lambda refs: [classified(ref, math.nan) for ref in refs],
        "gave an impossible result: the score nan is no probability",
    ),
    "not a probability": (
        lambda refs: [classified(ref, -1.0) for ref in refs],
        "gave an impossible result: the score -1.0 is no probability",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_model_that_breaks_its_promise_is_missing(case: str):
    """An answer that cannot be approves nothing; why is in the log, and not in the error."""
    answers, cause = BROKEN[case]
    with capture_logs() as logs:
        outcomes = await moderate(policy_of(NSFW), source("nsfw", answers))
    for verdict in verdicts(outcomes):
        assert (verdict.decision, verdict.missing) == (Decision.UNDETERMINED, ("nsfw",))
        error = verdict.model_errors["nsfw"]
        assert (type(error), error.message) == (errors.Internal, "internal error")
    found = [log for log in logs if log["event"] == "model broke its promise"]
    assert {(log["model"], log["cause"]) for log in found} == {("nsfw", cause)}


async def test_stored_reply_stands_in_for_the_model_that_failed():
    """What one model said earlier joins what the other one says now."""

    def fail(refs: Sequence[ImageRef]) -> Sequence[Any]:
        raise DOWN

    nsfw = source("nsfw", fail)
    ocr = source("ocr", lambda refs: [OcrOutcome(ref.digest, "buy") for ref in refs])
    found = verdicts(await moderate(policy_of(NSFW, TEXT), nsfw, ocr, stored={IDS[0]: 0.9}))
    assert [verdict.missing for verdict in found] == [(), ("nsfw",)]
    assert [[reason.code for reason in verdict.reasons] for verdict in found] == [
        ["NSFW", "TEXT"],
        ["TEXT"],
    ]
    assert found[0].model_versions == {"nsfw": "n", "ocr": "ocr-1"}


async def test_image_that_has_gone_meanwhile_is_not_judged():
    """When one model answered about an image that is no longer there, there is no verdict."""
    nsfw = source("nsfw", lambda refs: [classified(ref, 0.1) for ref in refs])
    ocr = source("ocr", lambda refs: [OcrOutcome(ref.digest, error=DOWN) for ref in refs])
    outcomes = await moderate(policy_of(NSFW, TEXT), nsfw, ocr, images=0)
    assert [type(outcome.result) for outcome in outcomes] == [errors.ImageNotFound] * 2
