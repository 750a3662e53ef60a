"""What policies read in text: contact details and listed words, with their places."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from services.errors import InvalidPolicy
from services.moderation import outcome
from services.moderation import policy as policies
from services.moderation.evaluate import evaluate
from services.moderation.models import MODELS, vocabulary
from services.moderation.policy import Policy, parse_policy
from services.moderation.types import Answer, Box, Decision, Evidence, Point, Reply, Verdict
from tests.moderation.support import rule
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

WORDS = "words:\n  drugs:\n    en: [cocaine]\n    de: [kokain]\n"
PHONE = rule("size(contacts.phone) > 0", "PHONE")
DRUGS = rule("size(words.drugs) > 0", "DRUGS")


def policy_of(*rules: str, top: str = "") -> Policy:
    return parse_policy((top + "rules:\n" + "".join(rules)).encode(), "real", vocabulary(MODELS))


def page(*lines: tuple[str, float]) -> dict[str, Answer]:
    read: list[Any] = [
        {
            "text": text,
            "score": score,
            "box": {"x": 10 * index, "y": 20 * index, "width": 100, "height": 10},
            "corners": [{"x": index, "y": index}] * 4,
        }
        for index, (text, score) in enumerate(lines)
    ]
    return {"ocr": Answer(OcrResult(lines=read), "1")}


def test_rule_over_contacts_reads_ocr():
    """A rule over what is found in text reads the model that the text is from, and no other."""
    policy = policy_of(PHONE, DRUGS, top=WORDS)
    assert policy.models == ("ocr",)
    verdict = evaluate(policy, {})
    assert (verdict.decision, verdict.unknown) == (Decision.UNDETERMINED, ("PHONE", "DRUGS"))


def test_evidence_is_the_line():
    """A contact detail is shown with the text, score, box and corners of its line."""
    more = "    evidence: [{model: ocr, each: contacts.phone}]\n"
    policy = policy_of(rule("size(contacts.phone) > 0", more=more))
    [reason] = evaluate(policy, page(("hello", 0.5), ("Tel 0171 2345678", 0.75))).reasons
    assert reason.evidence == (
        Evidence(
            "ocr", "phone", 0.75, Box(10, 20, 100, 10), (Point(1, 1),) * 4, "Tel 0171 2345678"
        ),
    )


def test_evidence_over_two_lines():
    """What goes on in the next line is shown with both lines, and with the lower score."""
    more = "    evidence: [{model: ocr, each: contacts.email}]\n"
    policy = policy_of(rule("size(contacts.email) > 0", more=more))
    [reason] = evaluate(policy, page(("jane.doe@", 0.9), ("gmail.com", 0.6))).reasons
    assert reason.evidence == (
        Evidence("ocr", "email", 0.6, Box(0, 0, 110, 30), (), "jane.doe@\ngmail.com"),
    )


def test_values_can_be_compared():
    """A policy can leave out contact details that are allowed, by their value."""
    when = "contacts.link.exists(one, !one.value.endsWith('my-shop.de'))"
    policy = policy_of(rule(f'"{when}"'))
    assert evaluate(policy, page(("www.my-shop.de", 1.0))).decision is Decision.APPROVED
    assert evaluate(policy, page(("www.other-shop.de", 1.0))).decision is Decision.REJECTED


@pytest.mark.parametrize("when", ["size(contacts . phone) > 0", "size(contacts.\\n phone) > 0"])
def test_blanks_in_a_name(when: str):
    """A name may have blanks around its dot, as anywhere in CEL."""
    verdict = evaluate(policy_of(rule(f'"{when}"')), page(("Tel 0171 2345678", 0.9)))
    assert (verdict.decision, verdict.failures) == (Decision.REJECTED, ())
    assert policy_of(rule(f'"{when}"')).language.reads_text


def test_words_have_their_language():
    """A mention says the listed word and its language."""
    policy = policy_of(rule("words.drugs.exists(one, one.language == 'de')"), top=WORDS)
    assert evaluate(policy, page(("cocaine", 1.0))).decision is Decision.APPROVED
    assert evaluate(policy, page(("Kokain", 1.0))).decision is Decision.REJECTED


@pytest.mark.parametrize(
    ("rules", "top", "said"),
    [
        (rule("size(contacts.fax) > 0"), "", ["real.yaml:5:11", "'contacts", "contacts.phone"]),
        (rule("size(words.weapons) > 0"), WORDS, ["'words", "words.drugs"]),
        (rule("contacts.phone.exists(one, one.number == 'x')"), "", ["undefined field 'number'"]),
        (PHONE, "words: {drugs: {en: [a]}}\n", ["real.yaml:1:22", "at least 2 characters"]),
        (PHONE, "words: {drugs: {en: ['...']}}\n", ["real.yaml:1:22", "does not match"]),
        (PHONE, "words: {drugs: {en: []}}\n", ["real.yaml:1:21", "at least 1 item"]),
        (PHONE, "words: {drugs: {}}\n", ["real.yaml:1:16", "at least 1 item"]),
        (PHONE, "words: {drugs: {no: [ab]}}\n", ["real.yaml:1:17", "the key False is not text"]),
        (PHONE, "words: {drugs: {English: [ab]}}\n", ["real.yaml:1:26", "does not match"]),
        (PHONE, "words: {Drugs: {en: [ab]}}\n", ["real.yaml:1:16", "does not match"]),
        (PHONE + "    skip_when_empty: brands\n", "", ["skip_when_empty", "is no parameter"]),
        (
            PHONE + "    skip_when_empty: brands\n",
            "parameters: {brands: a}\n",
            ["real.yaml:7:22", "rule PHONE: skip_when_empty", "'brands' is no parameter"],
        ),
        (
            PHONE + "    skip_when_empty: brands\n",
            "parameters: {brands: []}\n",
            ["real.yaml:3:3", "rules", "all of them are skipped"],
        ),
    ],
)
def test_bad_policy(rules: str, top: str, said: list[str]):
    """Lists and variables that are wrong are found when the policy is loaded, with their place."""
    with pytest.raises(InvalidPolicy) as failure:
        parse_policy(f"{top}rules:\n{rules}".encode(), "real", vocabulary(MODELS), file="real.yaml")
    assert [part for part in said if part not in failure.value.message] == [], failure.value.message


def test_skipped_rule_is_checked():
    """A rule that is skipped must be right all the same: the list may be filled at any time."""
    bad = rule("logo.logoz.exists(one, one.brand in parameters.brands)", "BRAND")
    with pytest.raises(InvalidPolicy, match="'logoz'"):
        policy_of(PHONE, bad + "    skip_when_empty: brands\n", top="parameters: {brands: []}\n")


def test_version_names_how_text_is_understood(monkeypatch: pytest.MonkeyPatch):
    """Another way to find things in text is another policy, but only where a rule reads them."""
    other = rule("size(ocr.lines) > 0 && nsfw.score > 0.5")

    def versions() -> list[str]:
        policies = policy_of(PHONE), policy_of(DRUGS, top=WORDS), policy_of(other)
        return [policy.version for policy in policies]

    before = versions()
    monkeypatch.setattr(policies, "text_version", lambda: "another")
    after = versions()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True]


@pytest.mark.parametrize(
    "other",
    [WORDS.replace("kokain", "koks"), WORDS.replace("de:", "nl:"), WORDS + "    fr: [coke]\n"],
)
def test_words_are_part_of_the_version(other: str):
    """Other words, or the same for another language, are another policy."""
    assert policy_of(DRUGS, top=WORDS).version != policy_of(DRUGS, top=other).version


def test_key_of_empty_list_is_part_of_the_version():
    """That a rule can be skipped is part of what a policy says."""
    top = "parameters: {brands: [a]}\n"
    skipped = policy_of(PHONE + "    skip_when_empty: brands\n", top=top)
    assert skipped.codes == ("PHONE",)
    assert skipped.version != policy_of(PHONE, top=top).version


async def test_text_is_looked_through_outside_of_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    """A policy that reads text is judged in a thread, any other one at once."""
    threads: list[int] = []

    def seen(policy: Policy, replies: Mapping[str, Reply]) -> Verdict:
        threads.append(threading.get_ident())
        return evaluate(policy, replies)

    monkeypatch.setattr(outcome, "evaluate", seen)
    await outcome.judged(policy_of(rule("size(ocr.lines) > 0")), "ab" * 32, page(("a", 0.9)))
    judged = await outcome.judged(policy_of(PHONE), "ab" * 32, page(("Tel 0171 2345678", 0.9)))
    here = threading.get_ident()
    assert threads[0] == here != threads[1]
    assert isinstance(judged.result, Verdict)
    assert judged.result.decision is Decision.REJECTED
