"""From boxes in the fractions of a pixel that a model computes to detections in whole pixels."""

from __future__ import annotations

from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.detection.labels import LABELS
from services.detection.types import Detection

SCORE_DIGITS: Final = 4
"""Of a score that is kept: the rest differs from machine to machine."""


def inside(
    boxes: NDArray[np.float64], width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes [n, 4] (left, top, right, bottom) cut at an image's borders, and which have an area."""
    cut = np.clip(boxes, 0, [width, height] * 2)
    return cut, (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])


def detection(kind: int, score: float, box: NDArray[np.float64]) -> Detection:
    """In whole pixels: all that the box touches."""
    left, top, right, bottom = floor(box[0]), floor(box[1]), ceil(box[2]), ceil(box[3])
    return Detection(
        LABELS[kind], round(score, SCORE_DIGITS), left, top, right - left, bottom - top
    )
