"""Policies: what they say of themselves, and their version."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.moderation.models import MODELS, vocabulary
from services.moderation.policy import Policy, load_policy, parse_policy
from services.moderation.settings import PACKAGED_POLICIES
from services.moderation.types import Severity
from tests.moderation.support import VOCABULARY, policy_of, rule

POLICY = """\
description: Of the test.
parameters:
  nudity: 0.8
  words: [knife, gun]
rules:
  - code: NUDITY
    severity: high
    message: Too much to see.
    when: nsfw.score >= parameters.nudity
    evidence:
      - model: nsfw
        label: nsfw
        score: nsfw.score
  - code: WEAPON
    severity: critical
    message: A weapon.
    when: detection.findings.exists(f, f.label in parameters.words)
"""


def parsed(text: str) -> Policy:
    return parse_policy(text.encode(), "strict", VOCABULARY)


def test_packaged_policies_load():
    """What the service comes with is valid, and the default one reads all models."""
    paths = sorted(PACKAGED_POLICIES.glob("*.yaml"))
    policies = {path.stem: load_policy(path, vocabulary(MODELS)) for path in paths}
    default = policies["default"]
    assert default.models == tuple(sorted(MODELS))
    assert default.description


def test_describes_itself():
    """Name, codes in order, models sorted, rules as written."""
    policy = parsed(POLICY)
    assert (policy.name, policy.description) == ("strict", "Of the test.")
    assert policy.codes == ("NUDITY", "WEAPON")
    assert policy.models == ("detection", "nsfw")
    assert policy.rules[1].severity is Severity.CRITICAL
    assert policy.rules[1].evidence == ()


@pytest.mark.parametrize(
    ("when", "models"),
    [
        ("nsfw.score > 0.5", {"nsfw"}),
        ("nsfw.score > 0.5 || size(ocr.lines) > 0", {"nsfw", "ocr"}),
        ("true || nsfw.score > 0.5", {"nsfw"}),
        ("ocr.lines.exists(nsfw, nsfw == 'nsfw')", {"ocr"}),
        ("detection.findings.exists(ocr, ocr.score > nsfw.score)", {"detection", "nsfw"}),
        ("'nsfw.score' in ocr.lines // nsfw.score", {"ocr"}),
    ],
)
def test_models_are_found_in_the_expression(when: str, models: set[str]):
    """A rule reads the models whose variables it uses: not names in text, comments, or macros."""
    assert policy_of(rule(f'"{when}"')).rules[0].models == models


@pytest.mark.parametrize(
    "same",
    [
        POLICY.replace("description: Of the test.\n", "# A comment.\n\n"),
        POLICY.replace("nudity: 0.8", "'nudity':    0.80"),
        POLICY.replace(
            "  nudity: 0.8\n  words: [knife, gun]\n",
            "  words:\n    - knife\n    - gun\n  nudity: 0.8\n",
        ),
        POLICY.replace(
            "    severity: critical\n    message: A weapon.\n",
            "    message: A weapon.\n    severity: critical\n",
        ),
        POLICY.replace(
            "when: nsfw.score >= parameters.nudity",
            "when: |\n      nsfw.score >= parameters.nudity\n",
        ),
        POLICY + "    evidence: []\n",
    ],
)
def test_version_is_of_the_content(same: str):
    """Comments, layout, quotes, the order of keys and the description do not change it."""
    assert same != POLICY
    assert parsed(same).version == parsed(POLICY).version


CHANGES = {
    "threshold": ("nudity: 0.8", "nudity: 0.81"),
    "parameter's type": ("[knife, gun]", "[knife, '1']"),
    "order of a list": ("[knife, gun]", "[gun, knife]"),
    "condition": (">= parameters.nudity", "> parameters.nudity"),
    "code": ("WEAPON", "ARMS"),
    "severity": ("critical", "low"),
    "message": ("A weapon.", "A knife."),
    "evidence's label": ("label: nsfw", "label: nude"),
    "evidence's score": ("score: nsfw.score", "score: nsfw.score * 2.0"),
    "no evidence score": ("        score: nsfw.score\n", ""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_version_changes_with_behaviour(change: str):
    """Whatever changes a verdict changes the version."""
    before, after = CHANGES[change]
    assert before in POLICY
    assert parsed(POLICY.replace(before, after)).version != parsed(POLICY).version


def test_version_changes_with_the_order_of_rules():
    """The order of rules is the order of reasons."""
    first, second = rule("nsfw.score > 0.1", "A"), rule("nsfw.score > 0.2", "B")
    assert policy_of(first, second).version != policy_of(second, first).version


def test_number_types_are_different_policies():
    """1 and 1.0 are different types in a condition, and so different content."""
    versions = {
        policy_of(rule("nsfw.score > 0.5"), parameters=f"{{n: {number}}}").version
        for number in ("1", "1.0", "'1'", "[1]", "[1.0]")
    }
    assert len(versions) == 5


def test_version_is_stable_between_processes():
    """The version of this text is this one, wherever and whenever it is read."""
    assert parsed(POLICY).version == "6c1a7c8c11687ffc"


def test_file_names_the_policy(tmp_path: Path):
    """A policy is called as its file is."""
    path = tmp_path / "very-strict.yaml"
    path.write_text(POLICY)
    assert load_policy(path, VOCABULARY).name == "very-strict"
