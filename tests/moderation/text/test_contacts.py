"""Contact details in text: what is found of a labelled corpus, and what is not taken for one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
import yaml

from services.moderation.text.contacts import KINDS, Contact, contacts

CORPUS: Final[dict[str, list[str]]] = yaml.safe_load(
    (Path(__file__).parent / "contacts.yaml").read_text()
)
MISSED: Final = {"phone": 0, "email": 0, "link": 1, "messenger": 1}
"""Of each kind, how many of the corpus are not found; what is found must not become fewer."""

WRONG: Final = {"phone": 0, "email": 0, "link": 1, "messenger": 0}
"""Of each kind, how many are found where it is not."""


def kinds(item: str) -> set[str]:
    return {contact.kind for contact in contacts(item.split("|"))}


def found(*lines: str) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(one.kind, one.value, one.lines) for one in contacts(lines)]


def test_the_corpus_is_large_enough():
    """There are 150 items and more of either sort, and none twice."""
    assert sum(len(items) for kind, items in CORPUS.items() if kind != "none") >= 150
    assert len(CORPUS["none"]) >= 150
    assert all(len(items) == len(set(items)) for items in CORPUS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_recall(kind: str, capsys: pytest.CaptureFixture[str]):
    """At most so many of a kind are missed as were when the figures were written down."""
    missed = [item for item in CORPUS[kind] if kind not in kinds(item)]
    with capsys.disabled():
        count = len(CORPUS[kind])
        print(f"\n{kind}: found {count - len(missed)} of {count}, missed {missed}")
    assert len(missed) <= MISSED[kind], missed


@pytest.mark.parametrize("kind", KINDS)
def test_precision(kind: str):
    """At most so many are found where there is none, or one of another kind."""
    others = [item for other, items in CORPUS.items() if other != kind for item in items]
    wrong = [item for item in others if kind in kinds(item)]
    assert len(wrong) <= WRONG[kind], wrong


def test_nothing_in_what_has_no_contact():
    """Prices, dates, sizes, article numbers, file names and sentences have no contact details."""
    assert [item for item in CORPUS["none"] if kinds(item)] == []


def test_values_are_written_plainly():
    """A number is E.164, addresses and names are in small letters and without their disguise."""
    assert found("Call O171-2345678", "J.SMITH (at) Gmail dot com", "Telegram: @Jane_Doe") == [
        ("phone", "+491712345678", (0,)),
        ("email", "j.smith@gmail.com", (1,)),
        ("messenger", "jane_doe", (2,)),
    ]


def test_what_goes_on_in_the_next_line():
    """A contact detail over two lines names both, and is there once."""
    assert found("hello", "mobil +49 171", "2345678", "bye") == [("phone", "+491712345678", (1, 2))]
    assert found("write to john.doe@", "gmail.com") == [("email", "john.doe@gmail.com", (0, 1))]
    assert found("All changes.", "jane@my-shop.de") == [("email", "jane@my-shop.de", (1,))]
    assert found("Tel.:", "0171 2345678") == [("phone", "+491712345678", (1,))]


def test_an_address_is_of_one_kind():
    """An e-mail address is no link and no name, a messenger's link is no link."""
    assert [kind for kind, _, _ in found("jane.doe@my-shop.de", "t.me/janedoe")] == [
        "email",
        "messenger",
    ]


@pytest.mark.parametrize(
    ("line", "kinds_found"),
    [
        ("Casino 0171 2345678", {"phone"}),
        ("No. 0171 2345678", set()),
        ("Ersatzteilnummer 0171 2345678", set()),
        ("meine Nummer 0171 2345678", {"phone"}),
    ],
)
def test_what_stands_before_a_number(line: str, kinds_found: set[str]):
    """A word that says that it is the number of something else counts as a whole word."""
    assert kinds(line) == kinds_found


def test_no_lines():
    """No lines and empty lines have no contact details."""
    assert contacts([]) == []
    assert contacts(["", " "]) == []


SLOW: Final = {
    "blanks": "ig" + " " * 10_000 + "x",
    "dots": "a." * 5_000,
    "digits": "1 2-" * 3_000,
    "spelled": "a_at_b_dot_" * 1_000,
    "words": "one " * 3_000,
    "name": "a" * 10_000 + " at ",
    "signs": "@" * 10_000,
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_takes_no_longer_for_bad_intent(text: str):
    """A page of lines that are hard to match is done with in a few seconds of CPU at most."""
    contacts(["0171 2345678", "a@b.com"])  # what is made once
    began = time.process_time()
    contacts([text] * 1_000)
    assert time.process_time() - began < 5


def test_contact_is_a_value():
    """Two that are the same are equal."""
    assert contacts(["a@b.com"]) == [Contact("email", "a@b.com", (0,))]
