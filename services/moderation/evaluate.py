"""A policy and the models' answers make a verdict. Nothing here waits for anything.

Three-valued, and failing closed: a rule is unknown when a model that it reads gave no answer, or
when its condition has no value on the answers. A rule that holds rejects whatever the others say;
an image is approved only when every rule is known not to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from services.errors import VisionmeshError
from services.moderation.expressions import Activation, EvaluationError
from services.moderation.policy import Policy, Rule
from services.moderation.types import (
    Answer,
    Decision,
    Evidence,
    Reason,
    Reply,
    RuleFailure,
    Verdict,
)

MAX_EVIDENCE: Final = 20
"""Items of evidence of one reason: what comes after them is left out (a guess)."""


def evaluate(policy: Policy, replies: Mapping[str, Reply]) -> Verdict:
    """Apply a policy to what the models said about one image, by model name.

    A model that is not in `replies` gave no answer; one that the policy does not read is ignored.
    """
    asked = {name: replies[name] for name in policy.models if name in replies}
    answers = {name: reply for name, reply in asked.items() if isinstance(reply, Answer)}
    activation = policy.language.bind({name: answer.result for name, answer in answers.items()})
    failures: list[RuleFailure] = []
    states = {
        rule.code: _holds(rule, activation, failures) if rule.models <= answers.keys() else None
        for rule in policy.rules
    }
    held = sorted(
        (rule for rule in policy.rules if states[rule.code]), key=lambda rule: -rule.severity
    )
    unknown = tuple(code for code, state in states.items() if state is None)
    return Verdict(
        decision=_decision(bool(held), bool(unknown)),
        policy=policy.name,
        policy_version=policy.version,
        reasons=tuple(_reason(rule, activation, failures) for rule in held),
        missing=tuple(name for name in policy.models if name not in answers),
        unknown=unknown,
        model_versions={name: answer.version for name, answer in answers.items()},
        model_errors={
            name: reply for name, reply in asked.items() if isinstance(reply, VisionmeshError)
        },
        failures=tuple(failures),
    )


def _decision(any_holds: bool, any_unknown: bool) -> Decision:
    if any_holds:
        return Decision.REJECTED
    return Decision.UNDETERMINED if any_unknown else Decision.APPROVED


def _holds(rule: Rule, activation: Activation, failures: list[RuleFailure]) -> bool | None:
    try:
        return rule.condition.holds(activation)
    except EvaluationError as error:
        failures.append(RuleFailure(rule.code, rule.condition.text, str(error)))
        return None


def _reason(rule: Rule, activation: Activation, failures: list[RuleFailure]) -> Reason:
    evidence = islice(_evidence(rule, activation, failures), MAX_EVIDENCE)
    return Reason(rule.code, rule.severity, rule.message, tuple(evidence))


def _evidence(
    rule: Rule, activation: Activation, failures: list[RuleFailure]
) -> Iterator[Evidence]:
    """What a rule saw; what has no value is left out, the rule holds without it."""
    for item in rule.evidence:
        try:
            yield from item.evidence(activation)
        except EvaluationError as error:
            failures.append(RuleFailure(rule.code, item.text, str(error)))
            yield from item.without_value()
