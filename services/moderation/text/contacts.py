"""Contact details in the lines of text that an image shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.moderation.text.addresses import addresses
from services.moderation.text.characters import bounded, plain
from services.moderation.text.handles import handles
from services.moderation.text.phones import phones

KINDS: Final = ("phone", "email", "link", "messenger")
"""What a contact detail can be."""

_GOES_ON: Final = re.compile(r"(?i)(?:@(?:[\w-]+\.?)?|://|\bwww\.?)\s*$")
_GOES_BACK: Final = re.compile(r"^\s*[@.]\w")
_NUMBER_BEGINS: Final = re.compile(r"(?:[+(]|\b0)[\d ()./-]{1,9}$")
_NUMBER_ENDS: Final = re.compile(r"^\s*[\d ()./-]{4,}")
_LABEL: Final = re.compile(r"^\W*\w[\w\s]{1,20}:\s*$")


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact detail.

    `kind` is one of `KINDS`; `value` is it written plainly: a number as E.164 has it, an address or
    a name in small letters; `lines` are the places of the lines that it was seen in, one or two.
    """

    kind: str
    value: str
    lines: tuple[int, ...]


def contacts(lines: Sequence[str]) -> list[Contact]:
    """The contact details in lines of text, in reading order. What is there twice comes twice."""
    texts = [plain(line) for line in bounded(lines)]
    texts_before = ["", *texts]
    single = [
        list(dict.fromkeys(_in_text(text, before)))
        for text, before in zip(texts, texts_before, strict=False)
    ]
    found: list[Contact] = []
    for index, here in enumerate(single):
        found += [Contact(kind, value, (index,)) for kind, value in here]
        if index + 1 == len(texts) or not (joined := _joined(texts[index], texts[index + 1])):
            continue
        alone = {*here, *single[index + 1]}
        both = dict.fromkeys(_in_text(joined, texts_before[index]))
        over_two = [one for one in both if one not in alone]
        found += [Contact(kind, value, (index, index + 1)) for kind, value in over_two]
        if over_two:  # what the second line alone looks like is its end
            single[index + 1] = [one for one in single[index + 1] if one in both]
    return found


def _in_text(text: str, before: str) -> Iterator[tuple[str, str]]:
    found, text = addresses(text)
    for address in found:
        yield address.kind, address.value
    numbers, text = phones(text, before)
    for number in numbers:
        yield "phone", number
    for handle in handles(text):
        yield "messenger", handle


def _joined(text: str, following: str) -> str | None:
    """Two lines as one, when the first seems to go on in the second."""
    if _GOES_ON.search(text) or _GOES_BACK.search(following):
        return text.rstrip() + following.lstrip()
    if _NUMBER_BEGINS.search(text) and _NUMBER_ENDS.search(following):
        return f"{text} {following}"
    if _LABEL.search(text):
        return f"{text} {following}"
    return None
