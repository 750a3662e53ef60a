"""What the OCR model says, what its processing is set to, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[int, int]
"""From the left and from the upper border, in pixels of the upright original."""

Corners = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, how sure the model is in [0, 1], and where it is.

    The corners are inside of the image or on its border, clockwise from where the upper left one is
    for whoever reads the line.
    """

    text: str
    score: float
    corners: Corners


@dataclass(frozen=True, slots=True)
class OcrResult:
    """The lines of one image, in reading order."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What of a result is asked for; part of no result and of no version."""

    min_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers between an image and its result; part of the model's version.

    docs/recognition.md has what those that are measured were chosen by.
    """

    max_pixels: int = 3_000_000
    """Of the picture that is searched for small text; a larger one is scaled down to that."""
    min_side: int = 640
    """The shorter side that a smaller picture is scaled up to."""
    max_enlargement: float = 2.0
    """How much at most: beyond, there is nothing more to see."""
    max_tile: int = 736
    """Pixels of the longer side of what the detector sees at once."""
    overlap: int = 96
    """Pixels that neighbouring tiles have in common: lines that are no higher are whole in one."""
    tall_letters: int = 64
    """Pixels of height, where the whole picture is seen at once, from which on a line is taken from
    there and not from tiles. A guess."""
    read_scale: float = 2.0
    """Lines are cut out of a picture so many times as long and wide as what is searched."""
    min_readable: int = 6
    """Pixels of an image's shorter side: below, no letter fits in."""
    margin: int = 16
    """Pixels around the picture, without which text that touches the border is missed."""
    min_probability: float = 0.3
    """Of a pixel that belongs to text. This and `min_box_score` are of the model's authors."""
    min_box_score: float = 0.5
    """Mean of the probabilities in a box."""
    unclip: float = 2.0
    """How far the detector's kernels are grown back into lines; 1.6 with its authors, which cuts
    letters off."""
    max_lines: int = 1000
    """Boxes that are read, the largest first."""
    max_reading: int = 250_000
    """Pixels of width of all lines together, 48 pixels high, the largest first: what one image may
    cost."""
    tall: float = 1.5
    """Height by width from which a line is taken to run downwards or upwards."""
    sure: float = 0.9
    """A score from which a line is not read in another direction too."""
    min_flip: float = 0.9
    """How sure the classifier must be to have a line read upside down first."""
    widths: tuple[int, ...] = (
        96, 160, 240, 320, 416, 512, 640, 800, 960, 1200, 1440, 1760, 2080, 2560, 3200,
    )  # fmt: skip
    """In pixels, what lines are filled up to, so that few shapes reach the engine."""
    max_batch_width: int = 2560
    """Pixels of width of what is read in one inference, and at least one line."""
    min_space: float = 0.1
    """How likely a space must be to stand between two characters, although none is likelier."""
    min_score: float = 0.3
    """Of a line that is kept."""
