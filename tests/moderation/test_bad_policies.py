"""Policy files that cannot be loaded: each complaint names the file, the rule and the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import InvalidPolicy
from services.moderation.document import MAX_EXPRESSION_LENGTH, MAX_FILE_BYTES
from services.moderation.policy import load_policy, parse_policy
from tests.moderation.support import VOCABULARY

GOOD = """\
parameters:
  limit: 0.5
rules:
  - code: FIRST
    severity: low
    message: First.
    when: nsfw.score > 0.9
  - code: SECOND
    severity: high
    message: Second.
    when: nsfw.score > parameters.limit
    evidence:
      - model: nsfw
        label: nsfw
        score: nsfw.score
"""
CONDITION = "nsfw.score > parameters.limit"
EVIDENCE = "score: nsfw.score\n"


def changed(before: str, after: str) -> str:
    assert before in GOOD
    return GOOD.replace(before, after)


# What is wrong: the file, and what the message must say of it.
BAD: dict[str, tuple[str, list[str]]] = {
    "unknown field": (
        changed(CONDITION, "nsfw.scor > 0.5"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:5", "undefined field 'scor'", "NsfwResult"],
    ),
    "unknown field on a later line": (
        changed(CONDITION, "|\n      nsfw.score > 0.5 ||\n      nsfw.scor > 0.5"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 2:5", "undefined field 'scor'"],
    ),
    "wrong type": (
        changed(CONDITION, "nsfw.score > 'high'"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:12", "(double, string)"],
    ),
    "integer against a score": (
        changed(CONDITION, "nsfw.score > 1"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:12", "(double, int)", "write 1.0 for 1"],
    ),
    "threshold of another type": (
        changed("limit: 0.5", "limit: high"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:12", "(double, string)"],
    ),
    "condition is not boolean": (
        changed(CONDITION, "nsfw.score"),
        ["bad.yaml:11:11", "rule SECOND: when", "is of type double, must be bool"],
    ),
    "condition of any type": (
        changed(CONDITION, "dyn(nsfw.score) > 0.5"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:4", "'dyn'"],
    ),
    "syntax error": (
        changed(CONDITION, "nsfw.score >"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:13", "<EOF>"],
    ),
    "token that CEL has not": (
        changed(CONDITION, "nsfw.score ~ 1.0"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:12", "'~'"],
    ),
    "unknown model": (
        changed(CONDITION, "logo.score > 0.5"),
        ["bad.yaml:11:11", "rule SECOND: when", "at 1:5", "'logo.score'", "there are: nsfw"],
    ),
    "unknown parameter": (
        changed(CONDITION, "nsfw.score > parameters.limits"),
        ["bad.yaml:11:11", "rule SECOND: when", "'parameters.limits'", "parameters.limit"],
    ),
    "condition that reads no model": (
        changed(CONDITION, "parameters.limit > 0.1"),
        ["bad.yaml:11:11", "rule SECOND: when", "reads no model"],
    ),
    "condition that is no text": (
        changed(CONDITION, "true"),
        ["bad.yaml:11:11", "rule SECOND: when", "True is not text"],
    ),
    "empty condition": (
        changed(CONDITION, "''"),
        ["bad.yaml:11:11", "rule SECOND: when", "at least 1 character"],
    ),
    "long condition": (
        changed(CONDITION, " || ".join(["nsfw.score > 0.5"] * 300)),
        ["bad.yaml:11:11", "rule SECOND: when", f"at most {MAX_EXPRESSION_LENGTH} characters"],
    ),
    "deep condition": (
        changed(CONDITION, f"{'(' * 40}nsfw.score > 0.5{')' * 40}"),
        ["bad.yaml:11:11", "rule SECOND: when", "recursion limit"],
    ),
    "duplicate code": (
        changed("SECOND", "FIRST"),
        ["bad.yaml:8:11", "rule FIRST: code", "twice"],
    ),
    "code in small letters": (
        changed("SECOND", "second"),
        ["bad.yaml:8:11", "code", "'second'"],
    ),
    "code that YAML takes for a boolean": (
        changed("SECOND", "NO"),
        ["bad.yaml:8:11", "rule number 2: code", "False is not text"],
    ),
    "missing severity": (
        changed("    severity: high\n", ""),
        ["bad.yaml:8:5", "rule SECOND", "'severity' is missing"],
    ),
    "missing condition": (
        changed(f"    when: {CONDITION}\n", ""),
        ["bad.yaml:8:5", "rule SECOND", "'when' is missing"],
    ),
    "missing code": (
        changed("  - code: SECOND\n    severity", "  - severity"),
        ["bad.yaml:8:5", "rule number 2", "'code' is missing"],
    ),
    "unknown severity": (
        changed("severity: high", "severity: deadly"),
        ["bad.yaml:9:15", "rule SECOND: severity", "'critical'"],
    ),
    "unknown key of a rule": (
        changed("message: Second.", "massage: Second."),
        ["bad.yaml:8:5", "rule SECOND", "'message' is missing"],
    ),
    "additional key of a rule": (
        changed("    message: Second.\n", "    message: Second.\n    unless: 'false'\n"),
        ["bad.yaml:11:5", "rule SECOND: unless", "unknown key"],
    ),
    "unknown key of the policy": (
        GOOD + "default: APPROVED\n",
        ["bad.yaml:16:1", "default", "unknown key"],
    ),
    "unknown key of evidence": (
        changed("label: nsfw\n", "label: nsfw\n        box: x\n"),
        ["bad.yaml:15:9", "rule SECOND: evidence[0].box", "unknown key"],
    ),
    "evidence of an unknown model": (
        changed("- model: nsfw", "- model: logo"),
        ["bad.yaml:13:16", "rule SECOND: evidence[0].model", "'logo'", "there are: nsfw"],
    ),
    "evidence of a model that the condition does not read": (
        changed("- model: nsfw", "- model: ocr"),
        ["bad.yaml:13:16", "rule SECOND: evidence[0].model", "does not read 'ocr'"],
    ),
    "evidence's score of another model": (
        changed(EVIDENCE, "score: double(size(ocr.lines))\n"),
        ["bad.yaml:15:16", "rule SECOND: evidence[0].score", "'ocr'", "'nsfw'"],
    ),
    "evidence's score is no number": (
        changed(EVIDENCE, "score: nsfw.score > 0.5\n"),
        ["bad.yaml:15:16", "rule SECOND: evidence[0].score", "of type bool, must be double"],
    ),
    "evidence's score of an unknown field": (
        changed(EVIDENCE, "score: nsfw.scor\n"),
        ["bad.yaml:15:16", "rule SECOND: evidence[0].score", "at 1:5", "'scor'"],
    ),
    "evidence without a label": (
        changed("        label: nsfw\n", ""),
        ["bad.yaml:13:9", "rule SECOND: evidence[0]", "'label' is missing"],
    ),
    "evidence of each and a score": (
        changed(EVIDENCE, EVIDENCE + "        each: nsfw.score\n"),
        ["bad.yaml:15:16", "rule SECOND: evidence[0].score", "each thing's own"],
    ),
    "evidence of each that is no list": (
        changed(EVIDENCE, "each: nsfw\n"),
        [
            "bad.yaml:15:15",
            "rule SECOND: evidence[0].each",
            "is of type visionmesh.nsfw.v1.NsfwResult, must be a list of messages",
        ],
    ),
    "evidence of each that is a list of numbers": (
        changed(EVIDENCE, "each: '[nsfw.score]'\n"),
        ["bad.yaml:15:15", "evidence[0].each", "is of type list<double>, must be a list of mess"],
    ),
    "evidence of each that is a list of anything": (
        changed(EVIDENCE, "each: '[nsfw, 1]'\n"),
        ["bad.yaml:15:15", "evidence[0].each", "is of type list<dyn>, must be a list of messages"],
    ),
    "evidence of each with an unknown field": (
        changed(EVIDENCE, "each: '[nsfw].filter(one, one.scor > 0.5)'\n"),
        ["bad.yaml:15:15", "rule SECOND: evidence[0].each", "at 1:23", "'scor'"],
    ),
    "evidence of each of another model": (
        changed(EVIDENCE, "each: detection.findings\n"),
        ["bad.yaml:15:15", "rule SECOND: evidence[0].each", "reads 'detection'", "of 'nsfw'"],
    ),
    "evidence of each without a label of its own": (
        changed("label: nsfw\n        " + EVIDENCE, "each: '[nsfw]'\n"),
        ["bad.yaml:13:9", "rule SECOND: evidence[0]", "NsfwResult has no label of its own"],
    ),
    "no rules": ("rules: []\n", ["bad.yaml:1:8", "rules", "at least 1 item"]),
    "no key for rules": ("description: x\n", ["bad.yaml:1:1", "'rules' is missing"]),
    "rules are no list": ("rules: {}\n", ["bad.yaml:1:8", "rules", "list"]),
    "rule is no mapping": ("rules: [3]\n", ["bad.yaml:1:9", "rule number 1", "3 is not a mapping"]),
    "list": ("- a\n", ["bad.yaml:1:1", "is a mapping"]),
    "text": ("hello\n", ["bad.yaml:1:1", "is a mapping"]),
    "empty": ("", ["bad.yaml", "is a mapping"]),
    "not YAML": ("rules: [\n", ["bad.yaml:2:1", "not valid YAML"]),
    "two documents": (GOOD + "---\na: b\n", ["bad.yaml:16:1", "not valid YAML"]),
    "aliases": (
        "a: &a [x, x]\nb: &b [*a, *a]\nrules: [*b, *b]\n",
        ["bad.yaml:2:8", "aliases are not allowed"],
    ),
    "duplicate key": (
        changed("    severity: low\n", "    severity: low\n    severity: high\n"),
        ["bad.yaml:6:5", "rule number 1", "'severity'", "twice"],
    ),
    "key that is no text": ("1: x\n", ["bad.yaml:1:1", "1 is not text"]),
    "Python object": (
        changed("limit: 0.5", "limit: !!python/object/apply:os.getcwd []"),
        ["bad.yaml:2:10", "parameters.limit", "not a type of this language"],
    ),
    "date": (
        changed("limit: 0.5", "limit: 2026-01-01"),
        ["bad.yaml:2:10", "parameters.limit", "not a type of this language"],
    ),
    "number that is none": (
        changed("limit: 0.5", "limit: !!float half"),
        ["bad.yaml:2:10", "parameters.limit", "half"],
    ),
    "nesting": ("[" * 5_000, ["bad.yaml", "nested too deeply"]),
    "oversized": (
        GOOD + "#" * MAX_FILE_BYTES,
        ["bad.yaml", f"more than {MAX_FILE_BYTES} bytes"],
    ),
    "parameters are no mapping": (
        changed("parameters:\n  limit: 0.5\n", "parameters: [0.5]\n"),
        ["bad.yaml:1:13", "parameters", "dictionary"],
    ),
    "parameter's name": (
        changed("limit: 0.5", "Limit: 0.5"),
        ["bad.yaml:2:10", "parameters.Limit", "does not match"],
    ),
}
PARAMETERS = {
    "boolean": ("true", "neither a number nor text"),
    "nothing": ("", "neither a number nor text"),
    "mapping": ("{a: 1}", "neither a number nor text"),
    "list of lists": ("[[1]]", "neither a number nor text"),
    "list of two types": ("[1, 1.5]", "of one type"),
    "not a number": (".nan", "not a finite number"),
    "infinite": ("[.inf]", "not a finite number"),
    "beyond 64 bits": ("9223372036854775808", "64 bits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_policy(case: str):
    """A bad policy is refused in one line that names file, rule, place and fault."""
    text, said = BAD[case]
    with pytest.raises(InvalidPolicy) as failure:
        parse_policy(text.encode(), "bad", VOCABULARY, file="bad.yaml")
    message = failure.value.message
    assert [part for part in said if part not in message] == [], message
    assert message.startswith(said[0] + ":")
    assert "\n" not in message


@pytest.mark.parametrize("case", PARAMETERS)
def test_bad_parameter(case: str):
    """A parameter is a finite number, text, or a list of one of them."""
    value, said = PARAMETERS[case]
    text = changed("limit: 0.5", f"limit: 0.5\n  other: {value}")
    with pytest.raises(InvalidPolicy, match=rf"^bad.yaml:3:\d+: parameters.other: .*{said}"):
        parse_policy(text.encode(), "bad", VOCABULARY, file="bad.yaml")


def test_good_policy_is_good():
    """What all the bad ones are made from loads."""
    assert parse_policy(GOOD.encode(), "good", VOCABULARY).codes == ("FIRST", "SECOND")


@pytest.mark.parametrize("content", [b"\xff\xfe rules", b"rules:\x00"])
def test_not_text(content: bytes):
    """Bytes that are not UTF-8, and characters that YAML does not have, are refused."""
    with pytest.raises(InvalidPolicy, match=r"^bad\.yaml: is not "):
        parse_policy(content, "bad", VOCABULARY, file="bad.yaml")


def test_unreadable_file(tmp_path: Path):
    """A file that cannot be read is a policy that cannot be loaded."""
    with pytest.raises(InvalidPolicy, match=r"absent\.yaml: cannot be read"):
        load_policy(tmp_path / "absent.yaml", VOCABULARY)


def test_oversized_file_is_not_read_whole(tmp_path: Path):
    """The size is checked while reading: a file of any length costs no more than the limit."""
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(10 * MAX_FILE_BYTES)
    with pytest.raises(InvalidPolicy, match=f"has more than {MAX_FILE_BYTES} bytes"):
        load_policy(path, VOCABULARY)
