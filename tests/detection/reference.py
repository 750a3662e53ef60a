"""CenterNet's decoding said again, one box at a time and without a trick."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


def decode(
    heat: NDArray[Any],
    reach: NDArray[Any],
    width: int,
    height: int,
    *,
    side: int = 512,
    min_score: float = 0.05,
    max_peaks: int = 1000,
    max_iou: float = 0.4,
    max_detections: int = 100,
) -> list[tuple[int, float, Box]]:
    """Kind, score and box in pixels of the original, of [kinds, h, w] and [4, h, w]."""
    kinds = len(heat)
    peaks = []
    for kind in range(kinds):
        for y, x in np.argwhere(heat[kind] >= min_score):
            patch = heat[kind, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if heat[kind, y, x] == patch.max():
                peaks.append((float(heat[kind, y, x]), kind, int(y), int(x)))
    peaks.sort(key=lambda peak: -peak[0])
    long_side = max(width, height)
    inner_width = max(1, round(width * side / long_side))
    inner_height = max(1, round(height * side / long_side))
    left, top = (side - inner_width) // 2, (side - inner_height) // 2
    found: list[tuple[int, float, Box]] = []
    for score, kind, y, x in peaks[:max_peaks]:
        reached = [float(value) for value in reach[:, y, x]]
        box = (
            _between((x * 4 - reached[0] - left) * width / inner_width, width),
            _between((y * 4 - reached[1] - top) * height / inner_height, height),
            _between((x * 4 + reached[2] - left) * width / inner_width, width),
            _between((y * 4 + reached[3] - top) * height / inner_height, height),
        )
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        if all(other != kind or iou(box, better) <= max_iou for other, _, better in found):
            found.append((kind, score, box))
        if len(found) == max_detections:
            break
    return found


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common)


def _between(value: float, limit: int) -> float:
    return min(max(value, 0.0), float(limit))
