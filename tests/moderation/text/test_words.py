"""Listed words in text: whole ones, however they are spelled, in any script."""

from __future__ import annotations

import pytest

from services.moderation.text.words import WordList, folded

LIST = WordList(
    {
        "en": ["cocaine", "magic mushrooms", "gun"],
        "fr": ["héroïne"],
        "de": ["gefälschter ausweis", "straße"],
        "pl": ["fałszywe pieniądze"],
        "zh": ["假币"],
        "th": ["ยาบ้า"],
    }
)


def words(*lines: str) -> list[str]:
    return [mention.word for mention in LIST.find(folded(lines))]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("Cocaine, pure", "cocaine"),
        ("COCAINE", "cocaine"),
        ("c0ca1ne", "cocaine"),
        ("c0c@!ne!", "cocaine"),
        ("c o c a i n e", "cocaine"),
        ("c.o.c.a.i.n.e", "cocaine"),
        ("c-o-c-a-i-n-e for sale", "cocaine"),
        ("ｃｏｃａｉｎｅ", "cocaine"),
        ("соcaine", "cocaine"),
        ("co\u200bcaine", "cocaine"),
        ("Magic  Mushrooms!", "magic mushrooms"),
        ("heroine", "héroïne"),
        ("HÉROÏNE", "héroïne"),
        ("Gefälschter Ausweis", "gefälschter ausweis"),
        ("gefalschter ausweis", "gefälschter ausweis"),
        ("STRASSE", "straße"),
        ("falszywe pieniadze", "fałszywe pieniądze"),
        ("出售假币便宜", "假币"),
        ("ขายยาบ้าราคาถูก", "ยาบ้า"),
        ("gun", "gun"),
    ],
)
def test_found(line: str, word: str):
    """A word is found without regard to case, diacritics, look-alikes and signs between letters."""
    assert words("nothing", line) == [word]


@pytest.mark.parametrize(
    "line",
    [
        "begun",
        "gunmetal grey",
        "Straßenschuhe",
        "magic and mushrooms",
        "mushrooms",
        "9un",
        "",
        "1234",
    ],
)
def test_not_found(line: str):
    """Parts of words, parts of phrases, and short words with digits in them are not found."""
    assert words(line) == []


def test_says_where_and_in_which_language():
    """A mention has the word as it is listed, its language and its line; once a line."""
    found = LIST.find(folded(["gun gun", "x", "Strasse, gun"]))
    assert [(one.word, one.language, one.line) for one in found] == [
        ("gun", "en", 0),
        ("straße", "de", 2),
        ("gun", "en", 2),
    ]
