"""What stands below a picture: the verdict, why, and who did not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from mesh.annotations.typeface import Font
from services.errors import VisionmeshError
from visionmesh.moderation.v1.moderation_pb2 import Decision, Reason, Severity, Verdict

DECISIONS: Final = {
    "APPROVED": "#1b5e20",
    "REJECTED": "#b3001b",
    "UNDETERMINED": "#8a5a00",
}
"""White is readable on each of them."""

GROUND: Final = "#161616"
INK: Final = "#f2f2f2"
FAINT: Final = "#b8b8b8"
WARNING: Final = "#ffb74d"

MIN_WIDTH: Final = 24
"""Of a strip, in sizes of its text: a narrow picture has ground beside it."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A verdict, how many places each model has seen, and why others have not."""

    verdict: Verdict
    counts: Mapping[str, int]
    failures: Mapping[str, VisionmeshError]

    @property
    def decision(self) -> str:
        return Decision.Name(self.verdict.decision).removeprefix("DECISION_")

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Colour and text of each line below the decision."""
        said = [(INK, _reason(reason)) for reason in self.verdict.reasons]
        if self.verdict.missing:
            rules = ", ".join(self.verdict.unknown_codes) or "no rule"
            missing = ", ".join(self.verdict.missing)
            said.append((WARNING, f"judged without {missing}; unknown: {rules}"))
        for model, error in self.failures.items():
            said.append((WARNING, f"no {model}: {error.message} ({error.code})"))
        return said


def draw_strip(
    picture: Image.Image, strip: Strip, font: Font, colours: Mapping[str, str]
) -> Image.Image:
    """A new image: the picture, and the strip below it."""
    text_size = round(font.size)
    margin = max(4, text_size // 2)
    width = max(picture.width, MIN_WIDTH * text_size)
    lines = [
        (colour, row)
        for colour, text in strip.lines
        for row in wrapped(text, font, width - 2 * margin)
    ]
    head = _Head(strip, font, margin, width, colours)
    step = round(text_size * 1.4)
    height = head.height + len(lines) * step + margin
    whole = Image.new("RGB", (width, picture.height + height), GROUND)
    whole.paste(picture, ((width - picture.width) // 2, 0))
    canvas = ImageDraw.Draw(whole)
    y = picture.height + head.draw(canvas, picture.height)
    for colour, row in lines:
        canvas.text((margin, y), row, fill=colour, font=font)
        y += step
    return whole


class _Head:
    """The decision, the policy, and which colour is whose: side by side, on as many lines as it
    takes."""

    def __init__(
        self, strip: Strip, font: Font, margin: int, width: int, colours: Mapping[str, str]
    ) -> None:
        self._font, self._margin, self._width = font, margin, width
        self._line = sum(font.getmetrics()) + margin
        verdict = strip.verdict
        self._pills = [(DECISIONS[strip.decision], strip.decision)]
        if verdict.policy:
            self._pills.append(("", f"policy {verdict.policy}"))
        self._pills += [
            (colours.get(model, ""), f"{model} {count}") for model, count in strip.counts.items()
        ]
        self._spots = self._put()
        self.height = self._spots[-1][1] + self._line + margin // 2

    def draw(self, canvas: ImageDraw.ImageDraw, top: int) -> int:
        """Draw at `top`; returns its own height."""
        half = self._margin // 2
        for (colour, text), (x, y) in zip(self._pills, self._spots, strict=True):
            if colour:
                right = x + self._length(text)
                canvas.rounded_rectangle(
                    (x, top + y, right, top + y + self._line - half), radius=half, fill=colour
                )
            ink = INK if colour else FAINT
            canvas.text((x + half, top + y + half // 2), text, fill=ink, font=self._font)
        return self.height

    def _put(self) -> list[tuple[int, int]]:
        spots, x, y = [], self._margin, self._margin
        for _, text in self._pills:
            if x > self._margin and x + self._length(text) > self._width - self._margin:
                x, y = self._margin, y + self._line
            spots.append((x, y))
            x += self._length(text) + self._margin
        return spots

    def _length(self, text: str) -> int:
        return round(self._font.getlength(text)) + self._margin


def wrapped(text: str, font: Font, width: float) -> list[str]:
    """Text in lines that fit into `width` pixels, broken between words where there are any."""
    rows: list[str] = []
    row = ""
    for word in text.split():
        longer = f"{row} {word}" if row else word
        if row and font.getlength(longer) > width:
            rows.append(row)
            longer = word
        while font.getlength(longer) > width and len(longer) > 1:
            fits = _fits(longer, font, width)
            rows.append(longer[:fits])
            longer = longer[fits:]
        row = longer
    return [*rows, row] if row else rows


def _fits(text: str, font: Font, width: float) -> int:
    """How many characters fit, at least one."""
    count = 1
    while count < len(text) and font.getlength(text[: count + 1]) <= width:
        count += 1
    return count


def _reason(reason: Reason) -> str:
    severity = Severity.Name(reason.severity).removeprefix("SEVERITY_")
    seen = ", ".join(dict.fromkeys(_seen(reason)))
    return f"{severity} {reason.code}{f' ({seen})' if seen else ''}: {reason.message}"


def _seen(reason: Reason) -> Sequence[str]:
    return [
        " ".join((seen.label, f"{seen.score:.2f}")) if seen.HasField("score") else seen.label
        for seen in reason.evidence
    ]
