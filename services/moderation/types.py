"""Answers, verdicts, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from google.protobuf.message import Message

from services.errors import VisionmeshError


class Decision(Enum):
    """What a policy decides about an image."""

    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    UNDETERMINED = "UNDETERMINED"


class Severity(IntEnum):
    """How grave it is that a rule holds; higher comes first."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels of the upright original; 0 when they are not known."""

    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model saw in one image: its result message of the contract, and its version."""

    result: Message
    version: str
    size: Size = Size()


Reply = Answer | VisionmeshError
"""What asking one model about one image gives: its answer, or why there is none."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels of the upright original."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Point:
    """A place in pixels of the upright original."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rule saw; `score` is in the model's own unit, None when it has none.

    `box` and `corners` are where it is, when it has a place; `text` is the line of text that it was
    seen in, as it was read, and empty for what is no text.
    """

    model: str
    label: str
    score: float | None = None
    box: Box | None = None
    corners: tuple[Point, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that holds."""

    code: str
    severity: Severity
    message: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """An expression of a rule that could not be evaluated on an answer: for the log."""

    code: str
    expression: str
    cause: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says about one image.

    `reasons` are the rules that hold, most severe first, then in the policy's order; `unknown` the
    codes of those that could not be decided, in the policy's order; `missing` the models that the
    policy reads and that gave no answer, sorted. `release` names what the whole mesh was when it
    was given.
    """

    decision: Decision
    policy: str
    policy_version: str
    reasons: tuple[Reason, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    model_versions: Mapping[str, str] = field(default_factory=dict)
    model_errors: Mapping[str, VisionmeshError] = field(default_factory=dict)
    failures: tuple[RuleFailure, ...] = ()
    release: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image of a call: a verdict, or what is wrong with the image."""

    digest: str
    result: Verdict | VisionmeshError
    size: Size = Size()
