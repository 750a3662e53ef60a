"""What a rule shows when it holds: one thing that the policy names, or all that a model found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from services.moderation.expressions import Activation, Findings, Score
from services.moderation.types import Box, Evidence, Point

_LABELS: Final = ("label", "brand")
"""The fields that say what a thing is, in the messages of the contract."""


@dataclass(frozen=True, slots=True)
class OneThing:
    """A label, and perhaps a score as an expression."""

    model: str
    label: str
    score: Score | None

    @property
    def text(self) -> str:
        """The expression, empty when there is none."""
        return self.score.text if self.score else ""

    def evidence(self, activation: Activation) -> Iterator[Evidence]:
        """The evidence. Raises EvaluationError."""
        yield Evidence(self.model, self.label, self.score.value(activation) if self.score else None)

    def without_value(self) -> Iterator[Evidence]:
        """What is left when the expression has no value."""
        yield Evidence(self.model, self.label)


@dataclass(frozen=True, slots=True)
class Things:
    """Each message of a list, with what its own fields say; `label` goes before its own label."""

    model: str
    label: str | None
    findings: Findings

    @property
    def text(self) -> str:
        """The expression."""
        return self.findings.text

    @property
    def have_labels(self) -> bool:
        """Whether it is known what to call them."""
        return self.label is not None or any(self._has(field) for field in _LABELS)

    def evidence(self, activation: Activation) -> Iterator[Evidence]:
        """The evidence, in the order of the list. Raises EvaluationError."""
        return (self._of(message) for message in self.findings.found(activation))

    def without_value(self) -> Iterator[Evidence]:
        """What is left when the expression has no value."""
        return iter(())

    def _of(self, message: Any) -> Evidence:
        return Evidence(
            model=self.model,
            label=self._label(message),
            score=message.score if self._has("score") else None,
            box=_box(message.box) if self._has("box") and message.HasField("box") else None,
            corners=_corners(message.corners) if self._has("corners") else (),
            text=message.text if self._has("text") else "",
        )

    def _label(self, message: Message) -> str:
        if self.label is not None:
            return self.label
        return str(next(getattr(message, field) for field in _LABELS if self._has(field)))

    def _has(self, field: str) -> bool:
        return field in self.findings.message.fields_by_name


EvidenceRule = OneThing | Things


def _box(box: Any) -> Box:
    return Box(box.x, box.y, box.width, box.height)


def _corners(corners: Any) -> tuple[Point, ...]:
    return tuple(Point(corner.x, corner.y) for corner in corners)
