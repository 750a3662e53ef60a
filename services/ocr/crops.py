"""From boxes to pictures of single lines, and to the tensors of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import dist
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.ocr.boxes import Quads
from services.ocr.processing import normalized, resized
from services.ocr.types import Parameters

HEIGHT: Final = 48
"""Pixels that a line is high for the recognizer and for the classifier."""

CLASSIFIED_WIDTH: Final = 192
"""Pixels of width that the classifier sees: longer lines are squeezed."""

Crop = NDArray[np.uint8]
"""uint8 RGB [48, W, 3]: one line, from left to right as it is read."""


def first_turn(quad: NDArray[np.float32], parameters: Parameters) -> int:
    """In which direction a box is most likely read, in quarters clockwise from left to right."""
    width, height = dist(quad[0], quad[1]), dist(quad[0], quad[3])
    return 1 if height >= parameters.tall * width else 0


def other_turns(turn: int, quad: NDArray[np.float32], parameters: Parameters) -> tuple[int, ...]:
    """The directions to try when reading in this one does not convince: the opposite one, and
    across where a line may be so."""
    width, height = dist(quad[0], quad[1]), dist(quad[0], quad[3])
    opposite = (turn + 2) % 4
    if height >= parameters.tall * width:
        return opposite, 0
    if width >= parameters.tall * height:
        return (opposite,)
    return opposite, 1, 3


def turned(quad: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """The corners [4, 2] from that one on that is the upper left for whoever reads it so."""
    return np.roll(quad, -turn, axis=0)


def line_width(quad: NDArray[np.float32], parameters: Parameters) -> int:
    """Pixels of width of a turned box at the recognizer's height; what is longer is squeezed."""
    width, height = dist(quad[0], quad[1]), dist(quad[0], quad[3])
    return max(1, min(round(HEIGHT * width / max(height, 1.0)), parameters.widths[-1]))


def affordable(quads: Quads, parameters: Parameters) -> int:
    """How many of these boxes, from the first on, one image may have read."""
    left = parameters.max_reading
    for count, quad in enumerate(quads[: parameters.max_lines]):
        width = line_width(turned(quad, first_turn(quad, parameters)), parameters)
        left -= bucket(width, parameters)
        if left < 0:
            return count
    return min(len(quads), parameters.max_lines)


def cut(rgb: NDArray[np.uint8], quad: NDArray[np.float32], parameters: Parameters) -> Crop:
    """The line in a turned box, whose corners are in pixels of `rgb`.

    Beyond the border is what is at the border.
    """
    wanted = line_width(quad, parameters), HEIGHT
    # What is larger is cut out at its own size first and then averaged: straight to the size that
    # is read, every second pixel would be lost.
    width = max(wanted[0], round(dist(quad[0], quad[1])))
    height = max(wanted[1], round(dist(quad[0], quad[3])))
    target = np.array([[0, 0], [width, 0], [0, height]], np.float32) - np.float32(0.5)
    matrix = cv2.getAffineTransform(quad[[0, 1, 3]] - np.float32(0.5), target)
    line = cv2.warpAffine(
        rgb, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return resized(np.asarray(line, np.uint8), *wanted)


def upside_down(crop: Crop) -> Crop:
    """The same line, read in the opposite direction."""
    return crop[::-1, ::-1]


def bucket(width: int, parameters: Parameters) -> int:
    """The width that a line of this one is filled up to."""
    return next(one for one in parameters.widths if one >= width)


def batches(widths: Sequence[int], parameters: Parameters) -> list[list[int]]:
    """Places of lines that are read together: of one bucket each, no more than fit in."""
    by_bucket: dict[int, list[int]] = {}
    for place, width in enumerate(widths):
        by_bucket.setdefault(bucket(width, parameters), []).append(place)
    together = []
    for width, places in sorted(by_bucket.items()):
        count = max(1, parameters.max_batch_width // width)
        together += [places[start : start + count] for start in range(0, len(places), count)]
    return together


def stacked(crops: Sequence[Crop], width: int) -> NDArray[np.float32]:
    """Lines as float32 BGR in [-1, 1], [n, 3, 48, width]; grey to the right of each."""
    tensor = np.zeros((len(crops), 3, HEIGHT, width), np.float32)
    for place, crop in enumerate(crops):
        tensor[place, :, :, : crop.shape[1]] = normalized(crop)
    return tensor


def classified(crops: Sequence[Crop]) -> NDArray[np.float32]:
    """Lines as the classifier sees them."""
    squeezed = [resized(crop, min(crop.shape[1], CLASSIFIED_WIDTH), HEIGHT) for crop in crops]
    return stacked(squeezed, CLASSIFIED_WIDTH)
