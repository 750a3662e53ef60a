"""What policies can read besides the models' results: what is found in the lines of text.

The variables `contacts.KIND` are lists of the contract's `Contact`, and `words.LIST`, one for each
list of words that the policy has, of `Mention`. Both come out of the result of the model `ocr`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from services.moderation.text.contacts import KINDS, contacts
from services.moderation.text.words import Lists, WordList, folded
from visionmesh.common.v1.geometry_pb2 import Box
from visionmesh.moderation.v1.moderation_pb2 import Contact, Mention
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

MODEL: Final = "ocr"

CONTACTS: Final = {f"contacts.{kind}": Contact for kind in KINDS}
"""The variables of contact details, and the message of their items."""


class Reading:
    """What is found in text, for one policy."""

    def __init__(self, words: Lists) -> None:
        self._words = {f"words.{name}": WordList(listed) for name, listed in words.items()}

    @property
    def variables(self) -> Mapping[str, type[Message]]:
        """The message of the items of each variable, by name."""
        return CONTACTS | dict.fromkeys(self._words, Mention)

    def of(self, result: OcrResult, wanted: Collection[str]) -> dict[str, list[Message]]:
        """The values of the variables that are wanted."""
        lines = result.lines
        texts = [line.text for line in lines]
        found: dict[str, list[Message]] = {name: [] for name in wanted}
        if not CONTACTS.keys().isdisjoint(wanted):
            for contact in contacts(texts):
                if (listed := found.get(f"contacts.{contact.kind}")) is not None:
                    seen = _seen([lines[index] for index in contact.lines])
                    listed.append(Contact(label=contact.kind, value=contact.value, **seen))
        if lists := self._words.keys() & wanted:
            page = folded(texts)
            for name in lists:
                found[name] += [
                    Mention(label=one.word, language=one.language, **_seen([lines[one.line]]))
                    for one in self._words[name].find(page)
                ]
        return found


def _seen(lines: Sequence[Any]) -> dict[str, Any]:
    """The fields that say where something was seen: in one line, or over two."""
    if len(lines) == 1:
        [line] = lines
        box = line.box if line.HasField("box") else None
        return {"text": line.text, "score": line.score, "box": box, "corners": line.corners}
    return {
        "text": "\n".join(line.text for line in lines),
        "score": min(line.score for line in lines),
        "box": _around(line.box for line in lines if line.HasField("box")),
    }


def _around(boxes: Iterable[Box]) -> Box | None:
    found = list(boxes)
    if not found:
        return None
    left, top = min(box.x for box in found), min(box.y for box in found)
    right = max(box.x + box.width for box in found)
    bottom = max(box.y + box.height for box in found)
    return Box(x=left, y=top, width=right - left, height=bottom - top)
