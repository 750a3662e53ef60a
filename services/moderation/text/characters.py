"""Characters that look alike, cannot be seen or stand apart, written plainly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MAX_CHARACTERS: Final = 20_000
MAX_LINE_LENGTH: Final = 250
"""Of all lines together and of each: what is beyond is not looked at (guesses)."""

# Cyrillic and Greek letters that look like Latin ones, which replace them in disguised addresses.
# After the confusables of Unicode's UTS #39, those that share their shape in common typefaces.
_LOOKALIKES: Final = str.maketrans(
    "абвгеёзіјкмнорѕстухԁԛԝАВЕЗІЈКМНОРЅСТУХαβεικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "a6bree3ijkmhopsctyxdqwABE3IJKMHOPSCTYXaeeikvoptuxABEZHIKMNOPTYX",
)
_AT_SIGNS: Final = str.maketrans("ⓐⒶ", "@@")
_COMBINING: Final = {0x20E3, *range(0xFE00, 0xFE10)}  # keycaps, and how an emoji is shown
_ASCII_LETTER: Final = re.compile(r"[A-Za-z]")
_OTHER_LETTER: Final = re.compile(r"[\u0370-\u03ff\u0400-\u052f]")
_APART: Final = re.compile(r"(?<!\S)(?:\S ){4,}\S(?!\S)")


def bounded(lines: Sequence[str]) -> list[str]:
    """The lines, cut to what is looked at: matching a line takes time by the square of its length.

    At these limits the slowest lines that were found take under a second together.
    """
    found: list[str] = []
    left = MAX_CHARACTERS
    for line in lines:
        found.append(line[: min(left, MAX_LINE_LENGTH)])
        left -= len(found[-1])
        if not left:
            break
    return found


def plain(text: str) -> str:
    """Text in compatibility form: digits are ASCII, nothing is invisible, no letter stands apart.

    A word of mixed alphabets is taken for a Latin one; one that is all Cyrillic or Greek stays.
    """
    if text.isascii():
        return _together(" ".join(text.split()))
    text = unicodedata.normalize("NFKC", text.translate(_AT_SIGNS))
    text = "".join(_plain(character) for character in text)
    return _together(" ".join(_latin(word) for word in text.split()))


def _plain(character: str) -> str:
    if character < "\x80":
        return character
    if ord(character) in _COMBINING or unicodedata.category(character) == "Cf":
        return ""
    if (digit := unicodedata.digit(character, None)) is not None:
        return str(digit)
    return " " if character.isspace() else character


def _latin(word: str) -> str:
    if _ASCII_LETTER.search(word) and _OTHER_LETTER.search(word):
        return word.translate(_LOOKALIKES)
    return word


def _together(text: str) -> str:
    """Five and more single characters with blanks between them are one word."""
    return _APART.sub(lambda apart: apart[0].replace(" ", ""), text)
