"""From the detector's map to boxes.

Post-processing is that of Differentiable Binarization (https://arxiv.org/abs/1911.08947, section
3.5): each region of the map is the kernel of a line, shrunk by what `unclip` grows back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.ocr.types import Parameters

OUTPUT: Final = "fetch_name_0"

MIN_KERNEL: Final = 3.0
"""Pixels of a kernel's shorter side: below is noise."""

MIN_GROWN: Final = 5.0
"""Pixels of the shorter side of a box."""

Quads = NDArray[np.float32]
"""[n, 4, 2]: corners as x and y, clockwise from the upper left one."""


def find_boxes(probabilities: NDArray[np.float32], parameters: Parameters) -> Quads:
    """Boxes around the lines in a map [H, W], in its pixels, the largest first."""
    mask = (probabilities > parameters.min_probability).astype(np.uint8)
    contours, _ = cv2.findContours(
        cv2.dilate(mask, np.ones((2, 2), np.uint8)), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    rectangles = [cv2.minAreaRect(contour) for contour in contours]
    large = [rectangle for rectangle in rectangles if min(rectangle[1]) >= MIN_KERNEL]
    large.sort(key=lambda rectangle: -rectangle[1][0] * rectangle[1][1])
    found = [
        corners(centre, grown(size, parameters.unclip), angle)
        for centre, size, angle in large
        if mean_within(probabilities, corners(centre, size, angle)) >= parameters.min_box_score
        and min(grown(size, parameters.unclip)) >= MIN_GROWN
    ]
    return np.array(found[: parameters.max_lines], np.float32).reshape(-1, 4, 2)


def grown(size: Sequence[float], unclip: float) -> tuple[float, float]:
    """A rectangle's sides, after all of them were moved outwards by area x unclip / perimeter."""
    width, height = size
    distance = width * height * unclip / (2 * (width + height))
    return width + 2 * distance, height + 2 * distance


def corners(centre: Sequence[float], size: Sequence[float], degrees: float) -> NDArray[np.float32]:
    """A rectangle's corners [4, 2], clockwise; the first edge is the one that is most level."""
    width, height = size
    quarter = round(degrees / 90)
    if quarter % 2:
        width, height = height, width
    angle = np.deg2rad(degrees - 90 * quarter)
    along = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    down = np.array([-np.sin(angle), np.cos(angle)]) * height / 2
    middle = np.array(centre)
    return np.array(
        [
            middle - along - down,
            middle + along - down,
            middle + along + down,
            middle - along + down,
        ],
        np.float32,
    )


def mean_within(probabilities: NDArray[np.float32], quad: NDArray[np.float32]) -> float:
    """The mean of a map's pixels that a quadrilateral covers."""
    height, width = probabilities.shape
    left, top = np.clip(np.floor(quad.min(axis=0)), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(quad.max(axis=0)), 0, [width - 1, height - 1]).astype(int)
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    # Truncated, as the model's authors do: their threshold is about these means.
    cv2.fillPoly(mask, [(quad - [left, top]).astype(np.int32)], (1,))
    part = probabilities[top : bottom + 1, left : right + 1]
    return float(cv2.mean(part, mask)[0])
