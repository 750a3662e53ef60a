"""Verdicts: three-valued, failing closed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import errors
from services.moderation.evaluate import evaluate
from services.moderation.policy import parse_policy
from services.moderation.types import Decision, Evidence, Reply, Severity
from tests.moderation.support import VOCABULARY, detection, nsfw, ocr, policy_of, rule

NUDITY = rule("nsfw.score >= 0.8", "NUDITY")
WEAPON = rule("detection.findings.exists(f, f.label == 'knife')", "WEAPON", "critical")
BOTH = rule("nsfw.score >= 0.5 && size(ocr.lines) > 0", "BOTH", "low")

DOWN = errors.ModelUnavailable("down")


@pytest.mark.parametrize(
    ("replies", "decision", "codes", "missing", "unknown"),
    [
        ({"nsfw": nsfw(0.1), "detection": detection()}, "APPROVED", [], [], []),
        ({"nsfw": nsfw(0.8), "detection": detection()}, "REJECTED", ["NUDITY"], [], []),
        (
            {"nsfw": nsfw(0.9), "detection": detection(knife=0.5)},
            "REJECTED",
            ["WEAPON", "NUDITY"],
            [],
            [],
        ),
        ({"nsfw": nsfw(0.1)}, "UNDETERMINED", [], ["detection"], ["WEAPON"]),
        ({"nsfw": nsfw(0.1), "detection": DOWN}, "UNDETERMINED", [], ["detection"], ["WEAPON"]),
        ({"nsfw": nsfw(0.9)}, "REJECTED", ["NUDITY"], ["detection"], ["WEAPON"]),
        (
            {"nsfw": DOWN, "detection": detection(knife=0.9)},
            "REJECTED",
            ["WEAPON"],
            ["nsfw"],
            ["NUDITY"],
        ),
        ({}, "UNDETERMINED", [], ["detection", "nsfw"], ["NUDITY", "WEAPON"]),
        (
            {"nsfw": DOWN, "detection": DOWN},
            "UNDETERMINED",
            [],
            ["detection", "nsfw"],
            ["NUDITY", "WEAPON"],
        ),
    ],
)
def test_two_rules_of_two_models(
    replies: dict[str, Reply],
    decision: str,
    codes: list[str],
    missing: list[str],
    unknown: list[str],
):
    """What holds rejects, what is unknown keeps from approving, and both say what was missing."""
    verdict = evaluate(policy_of(NUDITY, WEAPON), replies)
    assert verdict.decision is Decision(decision)
    assert [reason.code for reason in verdict.reasons] == codes
    assert list(verdict.missing) == missing
    assert list(verdict.unknown) == unknown


@pytest.mark.parametrize("score", [0.1, 0.9])
def test_rule_of_two_models_needs_both(score: float):
    """A rule is unknown without one of its models, also when the other one would decide it."""
    verdict = evaluate(policy_of(BOTH), {"nsfw": nsfw(score)})
    assert (verdict.decision, verdict.missing) == (Decision.UNDETERMINED, ("ocr",))


def test_model_that_no_rule_reads_does_not_matter():
    """Neither its failure nor its answer shows in the verdict."""
    policy = policy_of(NUDITY)
    for reply in (DOWN, ocr("hello")):
        verdict = evaluate(policy, {"nsfw": nsfw(0.1), "ocr": reply})
        assert verdict == evaluate(policy, {"nsfw": nsfw(0.1)})


def test_threshold_is_inclusive_to_the_last_bit():
    """A score at the threshold rejects, the next smaller one does not."""
    policy = policy_of(rule("nsfw.score >= parameters.nudity"), parameters="{nudity: 0.8}")
    assert evaluate(policy, {"nsfw": nsfw(0.8)}).decision is Decision.REJECTED
    assert evaluate(policy, {"nsfw": nsfw(0.7999999999999999)}).decision is Decision.APPROVED


def test_verdict_names_what_made_it():
    """Policy, its version, the versions of the models that answered, the errors of the others."""
    policy = policy_of(NUDITY, WEAPON)
    verdict = evaluate(policy, {"nsfw": nsfw(0.1), "detection": DOWN})
    assert (verdict.policy, verdict.policy_version) == ("strict", policy.version)
    assert verdict.model_versions == {"nsfw": "nsfw-1"}
    assert verdict.model_errors == {"detection": DOWN}


def test_reasons_are_ordered_by_severity_then_policy():
    """Most severe first; equally severe ones in the order in which the policy has them."""
    severities = ["low", "high", "critical", "high", "medium", "low", "critical"]
    rules = [
        rule("nsfw.score >= 0.0", f"R{index}", severity)
        for index, severity in enumerate(severities)
    ]
    verdict = evaluate(policy_of(*rules), {"nsfw": nsfw(0.5)})
    assert [reason.code for reason in verdict.reasons] == ["R2", "R6", "R1", "R3", "R4", "R0", "R5"]
    assert verdict.reasons[0].severity is Severity.CRITICAL


def test_evidence_of_each_model():
    """A reason shows what its rule saw, with scores computed from the answers."""
    more = """\
    evidence:
      - {model: nsfw, label: nsfw, score: nsfw.score}
      - model: detection
        label: knife
        score: detection.findings.filter(f, f.label == 'knife')[0].score * 0.5
      - {model: detection, label: anything}
"""
    policy = policy_of(rule("nsfw.score > 0.5 && size(detection.findings) > 0", more=more))
    verdict = evaluate(policy, {"nsfw": nsfw(0.75), "detection": detection(cat=0.1, knife=0.5)})
    assert verdict.reasons[0].evidence == (
        Evidence("nsfw", "nsfw", 0.75),
        Evidence("detection", "knife", 0.25),
        Evidence("detection", "anything", None),
    )
    assert verdict.failures == ()


def test_evidence_without_a_value_does_not_save_the_image():
    """A score that cannot be computed is left out and reported; the rule holds all the same."""
    more = "    evidence: [{model: detection, label: x, score: 'detection.findings[7].score'}]\n"
    policy = policy_of(rule("size(detection.findings) > 0", more=more))
    verdict = evaluate(policy, {"detection": detection(cat=0.1)})
    assert verdict.decision is Decision.REJECTED
    assert verdict.reasons[0].evidence == (Evidence("detection", "x", None),)
    assert [failure.expression for failure in verdict.failures] == ["detection.findings[7].score"]


@pytest.mark.parametrize(
    ("when", "cause"),
    [
        ("detection.counts['knife'] > 0", "knife"),
        ("detection.findings[0].score > 0.5", "index"),
        ("1 / size(detection.findings) > 0", "zero"),
        ("int('many') == size(detection.findings)", "convert"),
        (
            "detection.counts.all(a, detection.counts.all(b, detection.counts.all(c, a <= 'zzz')))",
            "budget",
        ),
    ],
)
def test_condition_without_a_value_never_approves(when: str, cause: str):
    """Missing keys, indexes out of range and the like leave a rule unknown, and say why."""
    counts = {f"label{number}": 1 for number in range(30)} if "budget" in cause else None
    verdict = evaluate(policy_of(rule(f'"{when}"')), {"detection": detection(counts)})
    assert verdict.decision is Decision.UNDETERMINED
    assert (verdict.unknown, verdict.missing) == (("CODE",), ())
    assert verdict.failures[0].code == "CODE"
    assert cause in verdict.failures[0].cause.lower()


def test_failing_rule_does_not_hide_one_that_holds():
    """An image is rejected by one rule whatever has become of another."""
    broken = rule("detection.findings[0].score > 0.5", "BROKEN")
    verdict = evaluate(policy_of(broken, NUDITY), {"nsfw": nsfw(0.9), "detection": detection()})
    assert verdict.decision is Decision.REJECTED
    assert (verdict.unknown, verdict.missing) == (("BROKEN",), ())


def test_verdict_for_lists_of_findings():
    """Conditions look through lists, with lists of words as parameters."""
    policy = policy_of(
        rule("detection.findings.exists(f, f.label in parameters.words && f.score > 0.4)", "W"),
        rule("ocr.lines.exists(line, line.contains(parameters.banned))", "T"),
        parameters="{words: [knife, gun], banned: buy now}",
    )
    found = evaluate(policy, {"detection": detection(gun=0.5), "ocr": ocr("a", "to buy now!")})
    assert [reason.code for reason in found.reasons] == ["W", "T"]
    harmless = evaluate(policy, {"detection": detection(gun=0.3, cat=0.9), "ocr": ocr("a")})
    assert harmless.decision is Decision.APPROVED


# Each model's own true statement, so that an expression reads the models that it should.
_READS = {
    "nsfw": "nsfw.score >= 0.0",
    "detection": "size(detection.findings) >= 0",
    "ocr": "size(ocr.lines) >= 0",
}
_VALUES = {True: "true", False: "false", None: "1 / 0 == 0"}
_ANSWERS = {"nsfw": nsfw(0.5), "detection": detection(), "ocr": ocr()}

_rules = st.lists(
    st.tuples(
        st.sets(st.sampled_from(sorted(_READS)), min_size=1),
        st.sampled_from([True, False, None]),
        st.sampled_from(["low", "medium", "high", "critical"]),
    ),
    min_size=1,
    max_size=5,
)
_replies = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([answer, DOWN]) for name, answer in _ANSWERS.items()}
)


@settings(deadline=None)  # compiling takes what the machine takes
@given(rules=_rules, replies=_replies)
def test_agrees_with_three_valued_logic(
    rules: list[tuple[set[str], bool | None, str]], replies: dict[str, Any]
):
    """For any rules and any answers the verdict is the disjunction of the rules after Kleene."""
    text = "rules:\n" + "".join(
        rule(f'"{" && ".join(map(_READS.get, models))} ? {_VALUES[value]} : false"', f"R{i}", grade)  # type: ignore[arg-type]
        for i, (models, value, grade) in enumerate(rules)
    )
    verdict = evaluate(parse_policy(text.encode(), "any", VOCABULARY), replies)

    answered = {name for name, reply in replies.items() if reply is not DOWN}
    states = [value if models <= answered else None for models, value, _ in rules]
    if True in states:
        expected = Decision.REJECTED
    elif None in states:
        expected = Decision.UNDETERMINED
    else:
        expected = Decision.APPROVED
    read = set().union(*(models for models, _, _ in rules))
    assert verdict.decision is expected
    assert verdict.unknown == tuple(f"R{i}" for i, state in enumerate(states) if state is None)
    assert {reason.code for reason in verdict.reasons} == {
        f"R{i}" for i, state in enumerate(states) if state
    }
    assert list(verdict.missing) == sorted(read - answered)
    assert set(verdict.model_versions) == read & answered
