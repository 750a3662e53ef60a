"""Listed words in the lines of text that an image shows, however they are spelled there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.moderation.text.characters import bounded, plain

Lists = Mapping[str, Mapping[str, Sequence[str]]]
"""Words and phrases, by the list's name and by language."""

# Letters that no decomposition takes apart.
_STROKES: Final = str.maketrans("łøđħı", "lodhi")
# Digits and signs in place of letters. i, l, 1 and their like are one.
_LEET: Final = str.maketrans("0134578@$!|i", "oleastbaslll")
_WORD: Final = re.compile(r"[^\W_]+")
_LEET_WORD: Final = re.compile(r"[\w@$!|]+")
_PARTED: Final = re.compile(r"(?<![^\W_])(?:[^\W_][.*\-_]){3,}[^\W_](?![^\W_])")
# Han, kana, Thai, Lao, Myanmar, Khmer: no blanks between words.
_WITHOUT_BLANKS: Final = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text as lists are compared with it.

    `tokens` are its words, folded; `disguised` those with digits or signs for letters, as letters;
    `joined` is all of it without blanks.
    """

    tokens: tuple[str, ...]
    disguised: tuple[str, ...]
    joined: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A listed word, as the list has it, its language, and the place of its line."""

    word: str
    language: str
    line: int


class WordList:
    """The words of one list, ready to be looked for.

    Whole words are compared without case and diacritics, also where digits stand for letters
    (`c0ca1ne`) or signs between them (`c.o.c.a`); in scripts without blanks, any part of a line.
    """

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        self._whole: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
        self._leet: dict[str, tuple[str, str]] = {}
        self._parts: list[tuple[str, str, str]] = []
        for language, listed in words.items():
            for word in listed:
                text = fold(plain(word))
                if _WITHOUT_BLANKS.search(text):
                    self._parts.append((text.replace(" ", ""), word, language))
                elif tokens := tuple(_WORD.findall(text)):
                    self._whole.setdefault(tokens[0], []).append((tokens, word, language))
                    if len(tokens) == 1 and len(text) > 3:
                        self._leet.setdefault(text.translate(_LEET), (word, language))

    def find(self, lines: Sequence[Line]) -> list[Mention]:
        """The words of the list in some lines, in reading order; each once a line."""
        return [
            Mention(word, language, index)
            for index, line in enumerate(lines)
            for word, language in dict.fromkeys(self._in_line(line))
        ]

    def _in_line(self, line: Line) -> Iterator[tuple[str, str]]:
        for index, token in enumerate(line.tokens):
            for phrase, word, language in self._whole.get(token, ()):
                if line.tokens[index : index + len(phrase)] == phrase:
                    yield word, language
        for token in line.disguised:
            if found := self._leet.get(token):
                yield found
        for part, word, language in self._parts:
            if part in line.joined:
                yield word, language


def folded(lines: Sequence[str]) -> list[Line]:
    """Lines of text for `WordList.find`, as many as are looked at."""
    return [_folded(line) for line in bounded(lines)]


def _folded(line: str) -> Line:
    text = fold(plain(line))
    text = _PARTED.sub(lambda parted: re.sub(r"[.*\-_]", "", parted[0]), text)
    found = (token.strip("!|") for token in _LEET_WORD.findall(text))
    disguised = tuple(
        token.translate(_LEET)
        for token in found
        if not token.isalpha() and any(map(str.isalpha, token))
    )
    return Line(tuple(_WORD.findall(text)), disguised, text.replace(" ", ""))


def fold(text: str) -> str:
    """Text without case and without diacritics."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFD", text.casefold()).translate(_STROKES)
    return unicodedata.normalize(
        "NFC", "".join(one for one in parts if not "\u0300" <= one <= "\u036f")
    )
