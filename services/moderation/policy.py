"""Policies: YAML in, checked and compiled rules out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from services.errors import InvalidPolicy
from services.moderation import document
from services.moderation.document import EvidenceDocument, PolicyDocument, RuleDocument, Source
from services.moderation.evidence import EvidenceRule, OneThing, Things
from services.moderation.expressions import (
    Condition,
    ExpressionError,
    Findings,
    Language,
    Score,
    parameter_type,
)
from services.moderation.reading import Reading
from services.moderation.text.version import text_version
from services.moderation.types import Severity

LANGUAGE_VERSION: Final = 1
"""Part of every policy's version: raised when the same policy comes to mean something else."""

Vocabulary = Mapping[str, type[Message]]
"""The models that a policy may read: the type of their results, by name."""


@dataclass(frozen=True)
class Rule:
    """One rule, ready to be evaluated."""

    code: str
    severity: Severity
    message: str
    condition: Condition
    evidence: tuple[EvidenceRule, ...]

    @property
    def models(self) -> frozenset[str]:
        """The models that the rule reads."""
        return self.condition.models


@dataclass(frozen=True)
class Policy:
    """A checked policy.

    `version` is a hash of all that shapes its verdicts, 16 hexadecimal digits; `text` is the file.
    """

    name: str
    version: str
    description: str
    rules: tuple[Rule, ...]
    language: Language
    text: bytes = field(repr=False)

    @property
    def codes(self) -> tuple[str, ...]:
        """What its rules can say, in their order."""
        return tuple(rule.code for rule in self.rules)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that any of its rules reads, sorted."""
        return tuple(sorted({model for rule in self.rules for model in rule.models}))


def load_policy(path: Path, vocabulary: Vocabulary) -> Policy:
    """Read a policy file; the policy is called as the file is. Raises InvalidPolicy."""
    try:
        with path.open("rb") as file:
            text = file.read(document.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidPolicy(f"{path}: cannot be read: {error.strerror}") from error
    return parse_policy(text, path.stem, vocabulary, file=str(path))


def parse_policy(text: bytes, name: str, vocabulary: Vocabulary, *, file: str = "policy") -> Policy:
    """Check and compile a policy; `file` is what errors call it. Raises InvalidPolicy."""
    written, source = document.read(text, file)
    for parameter, value in written.parameters.items():
        try:
            parameter_type(value)
        except ExpressionError as error:
            raise source.invalid(("parameters", parameter), str(error)) from None
    language = Language(vocabulary, written.parameters, Reading(written.words))
    rules: list[Rule] = []
    codes: set[str] = set()
    for index, rule in enumerate(written.rules):
        path = ("rules", index)
        if rule.code in codes:
            raise source.invalid((*path, "code"), f"the code {rule.code!r} is there twice")
        codes.add(rule.code)
        checked = _rule(rule, path, language, vocabulary, source)
        if not _is_skipped(rule, written.parameters, path, source):
            rules.append(checked)
    if not rules:
        raise source.invalid(("rules",), "all of them are skipped")
    version = version_of(written, reads_text=language.reads_text)
    return Policy(name, version, written.description, tuple(rules), language, text)


def _is_skipped(
    rule: RuleDocument, parameters: Mapping[str, Any], path: document.Path, source: Source
) -> bool:
    """Whether the parameter that a rule depends on is the empty list."""
    if (name := rule.skip_when_empty) is None:
        return False
    if not isinstance(parameters.get(name), list):
        raise source.invalid((*path, "skip_when_empty"), f"{name!r} is no parameter that is a list")
    return not parameters[name]


def version_of(written: PolicyDocument, *, reads_text: bool = False) -> str:
    """Hash a policy's parameters, words and rules: order of keys, comments, layout do not count.

    What is found in text counts where any rule reads it: another way to find it is another policy.
    """
    content: dict[str, Any] = {
        "language": LANGUAGE_VERSION,
        "parameters": written.parameters,
        "rules": [_canonical(rule) for rule in written.rules],
    }
    if written.words:  # the key came later, as did `each` and `skip_when_empty`
        content["words"] = written.words
    if reads_text:
        content["text"] = text_version()
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(rule: RuleDocument) -> dict[str, Any]:
    content = rule.model_dump()
    content["when"] = rule.when.strip()
    if rule.skip_when_empty is None:
        del content["skip_when_empty"]
    for written in content["evidence"]:
        written["score"] = written["score"] and written["score"].strip()
        if written["each"] is None:
            del written["each"]  # as it was before there was this key
        else:
            written["each"] = written["each"].strip()
    return content


def _rule(
    rule: RuleDocument,
    path: document.Path,
    language: Language,
    vocabulary: Vocabulary,
    source: Source,
) -> Rule:
    try:
        condition = language.condition(rule.when)
    except ExpressionError as error:
        raise source.invalid((*path, "when"), str(error)) from None
    if not condition.models:
        raise source.invalid((*path, "when"), "reads no model, and so says the same of every image")
    evidence = tuple(
        _evidence(item, (*path, "evidence", index), condition, language, vocabulary, source)
        for index, item in enumerate(rule.evidence)
    )
    severity = Severity[rule.severity.upper()]
    return Rule(rule.code, severity, rule.message, condition, evidence)


def _evidence(
    item: EvidenceDocument,
    path: document.Path,
    condition: Condition,
    language: Language,
    vocabulary: Vocabulary,
    source: Source,
) -> EvidenceRule:
    if item.model not in vocabulary:
        known = ", ".join(vocabulary)
        raise source.invalid(
            (*path, "model"), f"there is no model {item.model!r}; there are: {known}"
        )
    if item.model not in condition.models:
        raise source.invalid((*path, "model"), f"the condition does not read {item.model!r}")
    if item.each is not None:
        return _things(item, item.each, path, language, source)
    if item.label is None:
        raise source.invalid(path, "the key 'label' is missing")
    if item.score is None:
        return OneThing(item.model, item.label, None)
    score = _compiled(language.score, item.score, item.model, (*path, "score"), source)
    return OneThing(item.model, item.label, score)


def _things(
    item: EvidenceDocument, each: str, path: document.Path, language: Language, source: Source
) -> Things:
    """Evidence of everything that an expression finds."""
    if item.score is not None:
        raise source.invalid((*path, "score"), "is each thing's own when there is 'each'")
    findings = _compiled(language.findings, each, item.model, (*path, "each"), source)
    things = Things(item.model, item.label, findings)
    if not things.have_labels:
        raise source.invalid(path, f"{findings.message.name} has no label of its own: give one")
    return things


E = TypeVar("E", Score, Findings)


def _compiled(
    compile_: Callable[[str], E], text: str, model: str, path: document.Path, source: Source
) -> E:
    """An expression of evidence, which is about one model alone."""
    try:
        compiled = compile_(text)
    except ExpressionError as error:
        raise source.invalid(path, str(error)) from None
    if others := sorted(compiled.models - {model}):
        raise source.invalid(path, f"reads {others[0]!r}, but is of {model!r}")
    return compiled
