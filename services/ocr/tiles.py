"""Large pictures in parts that are as large as what the detector was trained on.

The detector weighs a picture as a whole: a few words on a large empty page are nothing to it, at
whatever scale, and stand out in a part of that page.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.ocr.processing import STRIDE
from services.ocr.types import Parameters


class Tile(NamedTuple):
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def tiles(width: int, height: int, parameters: Parameters) -> list[Tile]:
    """Parts that cover a picture and overlap, all of one size, no larger than allowed.

    The picture's sides are multiples of 32, and so are theirs.
    """
    columns, across = _parts(width, parameters)
    rows, down = _parts(height, parameters)
    return [Tile(left, top, across, down) for top in rows for left in columns]


def stitched(
    maps: Sequence[NDArray[np.float32]], places: Sequence[Tile], width: int, height: int
) -> NDArray[np.float32]:
    """The map of the whole, [height, width]: where parts overlap, each up to the middle of that.

    What lies at the border of a part is seen cut off there, and is thicker in its map.
    """
    whole = np.zeros((height, width), np.float32)
    columns = _spans([place.left for place in places], places[0].width, width)
    rows = _spans([place.top for place in places], places[0].height, height)
    for part, place in zip(maps, places, strict=True):
        (left, right), (top, bottom) = columns[place.left], rows[place.top]
        whole[top:bottom, left:right] = part[
            top - place.top : bottom - place.top, left - place.left : right - place.left
        ]
    return whole


def _spans(starts: Sequence[int], length: int, size: int) -> dict[int, tuple[int, int]]:
    """From where to where each part counts along one side, by its start."""
    ordered = sorted(set(starts))
    seams = [(before + length + after) // 2 for before, after in pairwise(ordered)]
    return dict(zip(ordered, pairwise([0, *seams, size]), strict=True))


def _parts(size: int, parameters: Parameters) -> tuple[list[int], int]:
    """Where the parts of one side begin, and how long they are."""
    overlap = parameters.overlap
    count = max(1, ceil((size - overlap) / (parameters.max_tile - overlap)))
    length = ceil((size + (count - 1) * overlap) / count / STRIDE) * STRIDE
    if count == 1:
        return [0], size
    return [round(part * (size - length) / (count - 1)) for part in range(count)], length
