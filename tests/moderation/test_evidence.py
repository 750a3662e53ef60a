"""What a reason shows of what its rule saw: which box, which line, which score."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from services.moderation.converters import outcome_to_proto
from services.moderation.evaluate import MAX_EVIDENCE, evaluate
from services.moderation.models import MODELS, vocabulary
from services.moderation.outcome import outcome_of
from services.moderation.policy import Policy, parse_policy
from services.moderation.types import Answer, Box, Decision, Evidence, Point, Reply
from tests.moderation.support import rule
from visionmesh.detection.v1.detection_pb2 import DetectionResult
from visionmesh.logo.v1.logo_pb2 import LogoResult
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

DIGEST = "ab" * 32


def policy_of(*rules: str) -> Policy:
    """A policy over the contract's messages."""
    return parse_policy(("rules:\n" + "".join(rules)).encode(), "real", vocabulary(MODELS))


def box(x: int) -> dict[str, int]:
    return {"x": x, "y": 2, "width": 30, "height": 40}


def corners(x: int) -> list[dict[str, int]]:
    return [{"x": x + dx, "y": 2 + dy} for dx, dy in ((0, 1), (30, 0), (29, 40), (1, 39))]


def detections(*found: tuple[str, float]) -> Reply:
    seen: list[Any] = [
        {"label": label, "score": score, "box": box(10 * index)}
        for index, (label, score) in enumerate(found)
    ]
    return Answer(DetectionResult(detections=seen), "detection-1")


def lines(*texts: str) -> Reply:
    seen: list[Any] = [
        {"text": text, "score": 0.9, "box": box(10 * index), "corners": corners(10 * index)}
        for index, text in enumerate(texts)
    ]
    return Answer(OcrResult(lines=seen), "ocr-1")


def logos(**found: float) -> Reply:
    seen: list[Any] = [
        {"brand": brand, "score": score, "box": box(5), "corners": corners(5)}
        for brand, score in found.items()
    ]
    return Answer(LogoResult(logos=seen), "logo-1")


KNIVES = "detection.detections.filter(one, one.label == 'knife' && one.score >= 0.5)"
WEAPON = rule(
    f"size({KNIVES}) > 0",
    "WEAPON",
    more=f"    evidence:\n      - model: detection\n        each: {KNIVES}\n",
)
POINTS = (Point(0, 3), Point(30, 2), Point(29, 42), Point(1, 41))


def test_each_object():
    """Every object that the expression finds is shown with its label, score and box, in order."""
    replies = {
        "detection": detections(("cat", 0.9), ("knife", 0.8), ("knife", 0.6), ("knife", 0.4))
    }
    [reason] = evaluate(policy_of(WEAPON), replies).reasons
    assert reason.evidence == (
        Evidence("detection", "knife", 0.8, Box(10, 2, 30, 40)),
        Evidence("detection", "knife", 0.6, Box(20, 2, 30, 40)),
    )


def test_each_line_of_text():
    """A line of text is shown with its text and corners, under the label that the policy gives."""
    each = "'ocr.lines.filter(one, one.text == \"buy\")'"
    more = f"    evidence: [{{model: ocr, label: sale, each: {each}}}]\n"
    policy = policy_of(rule("size(ocr.lines) > 0", more=more))
    [reason] = evaluate(policy, {"ocr": lines("buy", "hello")}).reasons
    assert reason.evidence == (Evidence("ocr", "sale", 0.9, Box(0, 2, 30, 40), POINTS, "buy"),)


def test_each_logo():
    """A logo is shown under its brand, or under the label that the policy gives."""
    more = (
        "    evidence:\n      - {model: logo, each: logo.logos}\n"
        "      - {model: logo, label: x, each: logo.logos}\n"
    )
    policy = policy_of(rule("size(logo.logos) > 0", more=more))
    [reason] = evaluate(policy, {"logo": logos(adobe=0.7)}).reasons
    assert [item.label for item in reason.evidence] == ["adobe", "x"]
    assert reason.evidence[0].box == Box(5, 2, 30, 40)
    assert len(reason.evidence[0].corners) == 4


def test_evidence_is_bounded():
    """A reason shows so many items and no more, whichever rule of evidence gave them."""
    more = (
        "    evidence:\n      - {model: detection, label: any}\n"
        "      - {model: detection, each: detection.detections}\n"
        "      - {model: detection, label: never, each: detection.detections}\n"
    )
    policy = policy_of(rule("size(detection.detections) > 0", more=more))
    [reason] = evaluate(policy, {"detection": detections(*[("cat", 0.5)] * 100)}).reasons
    labels = [item.label for item in reason.evidence]
    assert labels == ["any", *["cat"] * (MAX_EVIDENCE - 1)]


def test_each_without_a_value_does_not_save_the_image():
    """A list that cannot be computed is left out and reported; the rule holds all the same."""
    each = "'[detection.detections[7]]'"
    more = f"    evidence: [{{model: detection, each: {each}}}, {{model: detection, label: x}}]\n"
    policy = policy_of(rule("size(detection.detections) > 0", more=more))
    verdict = evaluate(policy, {"detection": detections(("cat", 0.5))})
    assert verdict.decision is Decision.REJECTED
    assert verdict.reasons[0].evidence == (Evidence("detection", "x"),)
    assert [failure.expression for failure in verdict.failures] == [each.strip("'")]


def test_evidence_on_the_wire():
    """Score, box, corners and text arrive as they are; what there is none of is not set."""
    more = "    evidence: [{model: ocr, label: any, each: ocr.lines}, {model: ocr, label: bare}]\n"
    policy = policy_of(rule("size(ocr.lines) > 0", more=more))
    message = outcome_to_proto(outcome_of(policy, DIGEST, {"ocr": lines("buy")}))
    [line, bare] = message.verdict.reasons[0].evidence
    assert (line.model, line.label, line.score, line.text) == ("ocr", "any", 0.9, "buy")
    assert (line.box.x, line.box.y, line.box.width, line.box.height) == (0, 2, 30, 40)
    assert [(corner.x, corner.y) for corner in line.corners] == [(p.x, p.y) for p in POINTS]
    assert (bare.label, bare.HasField("score"), bare.HasField("box")) == ("bare", False, False)
    assert (list(bare.corners), bare.text) == ([], "")


def test_text_is_not_logged():
    """The log says why an expression has no value without any text out of the image."""
    policy = policy_of(rule("'{\"a\": 1}[ocr.lines[0].text] > 0'"))
    with capture_logs() as logs:
        outcome_of(policy, DIGEST, {"ocr": lines("call 0171: Jane")})
    [entry] = logs
    assert entry["cause"] == "NOT_FOUND: Key not found in map"
    assert "Jane" not in str(entry)


def test_each_is_part_of_the_version():
    """Another list of evidence is another policy; blanks around it are not."""
    spaced = WEAPON.replace(f"each: {KNIVES}", f"each:   {KNIVES}   ")
    other = WEAPON.replace(f"each: {KNIVES}", "each: detection.detections")
    assert policy_of(spaced).version == policy_of(WEAPON).version != policy_of(other).version
