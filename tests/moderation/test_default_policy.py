"""The policy that the service comes with: what it rejects, why, and what it lets pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services import errors
from services.moderation.evaluate import evaluate
from services.moderation.models import MODELS, vocabulary
from services.moderation.policy import Policy, load_policy, parse_policy
from services.moderation.settings import PACKAGED_POLICIES
from services.moderation.types import Answer, Decision, Reply
from tests.moderation.world import APPROVED, REJECTED, UNDETERMINED, refs, world
from tests.support.mesh import FakeDetection, FakeLogo, FakeOcr, digests
from visionmesh.detection.v1.detection_pb2 import DetectionResult
from visionmesh.logo.v1.logo_pb2 import LogoResult
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

FILE = PACKAGED_POLICIES / "default.yaml"
BOX = {"x": 1, "y": 2, "width": 3, "height": 4}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(FILE, vocabulary(MODELS))


def said(
    nsfw: float = 0.0,
    objects: dict[str, float] | None = None,
    lines: list[str] | None = None,
    logos: dict[str, float] | None = None,
    line_score: float = 0.9,
) -> dict[str, Reply]:
    """What the four models say of one image."""
    seen: list[Any] = [{"label": k, "score": s, "box": BOX} for k, s in (objects or {}).items()]
    read: list[Any] = [{"text": t, "score": line_score, "box": BOX} for t in lines or []]
    brands: list[Any] = [{"brand": k, "score": s, "box": BOX} for k, s in (logos or {}).items()]
    return {
        "nsfw": Answer(NsfwResult(score=nsfw), "1"),
        "detection": Answer(DetectionResult(detections=seen), "1"),
        "ocr": Answer(OcrResult(lines=read), "1"),
        "logo": Answer(LogoResult(logos=brands), "1"),
    }


@pytest.mark.parametrize(
    ("replies", "code", "evidence"),
    [
        (said(nsfw=0.9), "NUDITY", ("nsfw", "nsfw", "")),
        (said(objects={"knife": 0.6}), "WEAPON", ("detection", "knife", "")),
        (said(lines=["c0caine"]), "PROHIBITED_WORDS", ("ocr", "cocaine", "c0caine")),
        (said(lines=["Falschgeld"]), "PROHIBITED_WORDS", ("ocr", "falschgeld", "Falschgeld")),
        (said(lines=["Tel 0171 2345678"]), "PHONE_NUMBER", ("ocr", "phone", "Tel 0171 2345678")),
        (said(lines=["a (at) b.de"]), "EMAIL_ADDRESS", ("ocr", "email", "a (at) b.de")),
        (
            said(lines=["TG: @sellerbob"]),
            "MESSENGER_HANDLE",
            ("ocr", "messenger", "TG: @sellerbob"),
        ),
        (said(lines=["www.shop.de"]), "LINK", ("ocr", "link", "www.shop.de")),
        (said(logos={"whatsapp": 0.9}), "BLOCKED_BRAND", ("logo", "whatsapp", "")),
    ],
)
def test_rejects(policy: Policy, replies: dict[str, Reply], code: str, evidence: tuple[str, ...]):
    """Each rule rejects by itself, and shows what it saw."""
    verdict = evaluate(policy, replies)
    assert verdict.decision is Decision.REJECTED
    [reason] = verdict.reasons
    assert reason.code == code
    [seen] = reason.evidence
    assert (seen.model, seen.label, seen.text) == evidence
    assert (seen.box is None) == (code == "NUDITY")


@pytest.mark.parametrize(
    "replies",
    [
        said(),
        said(nsfw=0.79, objects={"knife": 0.49, "scissors": 0.99}, logos={"adobe": 1.0}),
        said(lines=["Nike Air Max 90", "19,99 €", "EAN 4006381333931", "Größe 42", "12.05.2024"]),
        said(lines=["Tel 0171 2345678", "cocaine"], line_score=0.5),
    ],
    ids=["nothing", "below", "text", "unsure text"],
)
def test_approves(policy: Policy, replies: dict[str, Reply]):
    """What is below the thresholds, and what merely looks alike, is approved."""
    verdict = evaluate(policy, replies)
    assert (verdict.decision, verdict.failures) == (Decision.APPROVED, ())


def test_reasons_are_ordered(policy: Policy):
    """All reasons at once come the most severe first."""
    replies = said(
        0.9, {"knife": 0.9}, ["www.a.com", "cocaine", "+49 171 2345678"], {"telegram": 0.9}
    )
    reasons = evaluate(policy, replies).reasons
    assert [reason.code for reason in reasons] == [
        *("NUDITY", "WEAPON", "PROHIBITED_WORDS", "PHONE_NUMBER", "LINK", "BLOCKED_BRAND"),
    ]


@pytest.mark.parametrize("model", MODELS)
def test_without_a_model(policy: Policy, model: str):
    """Without one of the models nothing is approved, and its rules alone are unknown."""
    replies = {**said(), model: errors.ModelUnavailable("down")}
    verdict = evaluate(policy, replies)
    assert verdict.decision is Decision.UNDETERMINED
    assert verdict.missing == (model,)
    assert verdict.unknown == tuple(rule.code for rule in policy.rules if model in rule.models)


@pytest.mark.parametrize(
    ("before", "model", "code"),
    [
        ("blocked_brands: [discord, messenger, signal, skype, telegram, viber, wechat, whatsapp]",
         "logo", "BLOCKED_BRAND"),
        ("weapons: [knife]", "detection", "WEAPON"),
    ],
)  # fmt: skip
def test_empty_list_asks_no_model(before: str, model: str, code: str):
    """With an empty list a rule is none: its model is not read and cannot hold the verdict up."""
    text = FILE.read_text()
    assert before in text
    emptied = text.replace(before, f"{before.split(':')[0]}: []")
    policy = parse_policy(emptied.encode(), "default", vocabulary(MODELS))
    assert code not in policy.codes
    assert model not in policy.models
    replies = {**said(), model: errors.ModelUnavailable("down")}
    assert evaluate(policy, replies).decision is Decision.APPROVED


def test_listed_objects():
    """With labels in its list, the rule of other objects is there."""
    text = FILE.read_text().replace("objects: []", "objects: [bottle]")
    policy = parse_policy(text.encode(), "default", vocabulary(MODELS))
    [reason] = evaluate(policy, said(objects={"bottle": 0.5, "cup": 0.9})).reasons
    assert (reason.code, [seen.label for seen in reason.evidence]) == ("LISTED_OBJECT", ["bottle"])


async def test_over_the_wire(tmp_path: Path):
    """Moderation asks all four and shows where; from what is stored it says the same."""
    ocr, logo, detection = FakeOcr(), FakeLogo(), FakeDetection()
    async with world(
        tmp_path, policies=PACKAGED_POLICIES, ocr=ocr, logo=logo, detection=detection
    ) as w:
        [clean] = await w.moderation.moderate(refs(digests(1)))
        ocr.seen.lines.add(text="WhatsApp O171-2345678", score=0.9, box=BOX)
        [shown] = await w.moderation.moderate(refs(digests(1)))
        [open_] = await w.moderation.evaluate(await w.upload(1))
    assert clean.verdict.decision == APPROVED
    assert sorted(clean.verdict.model_versions) == sorted(MODELS)
    assert shown.verdict.decision == REJECTED
    [reason] = shown.verdict.reasons
    [seen] = reason.evidence
    assert (reason.code, seen.label, seen.text) == (
        *("PHONE_NUMBER", "phone", "WhatsApp O171-2345678"),
    )
    assert (seen.box.x, seen.box.width) == (1, 3)
    assert open_.verdict.decision == UNDETERMINED
    assert list(open_.verdict.missing) == sorted(MODELS)
