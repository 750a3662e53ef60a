"""From what was read in each box to a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.ocr.boxes import Quads
from services.ocr.crops import turned
from services.ocr.reading import Reading
from services.ocr.reading_order import reading_order
from services.ocr.types import Corners, Line, OcrResult, Parameters

SCORE_DIGITS: Final = 4
"""Of a score that is kept: the rest differs from machine to machine."""


def arranged(
    quads: Quads, readings: Sequence[Reading], width: int, height: int, parameters: Parameters
) -> OcrResult:
    """What was read in boxes of an image of this size, without what is nothing, in reading order.

    The page is read in the direction in which most of its characters are.
    """
    lines = []
    characters: Counter[int] = Counter()
    for quad, said in zip(quads, readings, strict=True):
        score, text = round(said.score, SCORE_DIGITS), said.text.strip()
        corners = _corners(turned(quad, said.turn), width, height)
        if text and score >= parameters.min_score and _has_area(corners):
            lines.append(Line(text, score, corners))
            characters[said.turn] += len(text)
    turn = max(characters, key=lambda one: characters[one], default=0)
    order = reading_order([line.corners for line in lines], turn)
    return OcrResult(tuple(lines[place] for place in order))


def _corners(quad: NDArray[np.float32], width: int, height: int) -> Corners:
    """In whole pixels, inside of the image or on its border."""
    inside = np.clip(np.rint(quad), 0, [width, height]).astype(int)
    first, second, third, fourth = ((int(x), int(y)) for x, y in inside)
    return first, second, third, fourth


def _has_area(corners: Corners) -> bool:
    return all(len(set(values)) > 1 for values in zip(*corners, strict=True))
