"""From the detector's map to boxes.

Post-processing is that of Differentiable Binarization (https://arxiv.org/abs/1911.08947, section
3.5): each region of the map is the kernel of a line, shrunk by what `unclip` grows back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import dist
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

PIECE: Final = 0.4
"""Of a box's area, from which on it belongs to another one. A guess."""

SAME: Final = 0.8
"""Of the larger one's area, from which on two boxes are one. A guess."""

LINE: Final = 0.25
"""Of a box's shorter side: what is thinner is a line of a paragraph, not a stroke of a letter. A
guess."""

Quads = NDArray[np.float32]
"""[n, 4, 2]: corners as x and y, clockwise from the upper left one."""


def find_boxes(probabilities: NDArray[np.float32], parameters: Parameters) -> Quads:
    """Boxes around the lines in a map [H, W], in its pixels, the largest first."""
    mask = (probabilities > parameters.min_probability).astype(np.uint8)
    regions = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    contours, hierarchy = cv2.findContours(regions, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    # The borders of regions, but not those of holes in them, which have a parent.
    rectangles = [
        cv2.minAreaRect(contour)
        for contour, (*_, parent) in zip(contours, hierarchy[0] if contours else (), strict=True)
        if parent < 0
    ]
    large = [rectangle for rectangle in rectangles if min(rectangle[1]) >= MIN_KERNEL]
    large.sort(key=lambda rectangle: -rectangle[1][0] * rectangle[1][1])
    sure = (
        corners(centre, grown(size, parameters.unclip), angle)
        for centre, size, angle in large
        if mean_within(probabilities, corners(centre, size, angle)) >= parameters.min_box_score
        and min(grown(size, parameters.unclip)) >= MIN_GROWN
    )
    return np.array([*islice(sure, parameters.max_lines)], np.float32).reshape(-1, 4, 2)


def merged(whole: Quads, parts: Quads, tall: float) -> Quads:
    """Boxes that were found in the whole picture, and those found in its parts, each line once.

    The parts see small letters better. Of letters that are `tall` or more they see pieces: there
    the whole is right, unless what the parts see in a box are the lines of a paragraph. Coordinates
    and `tall` are in the same pixels. The largest come first.
    """
    boxes = np.concatenate([parts, whole])
    areas = np.array([cv2.contourArea(box) for box in boxes])
    lows, highs = boxes.min(axis=1), boxes.max(axis=1)
    kept = np.arange(len(boxes)) < len(parts)
    for place in range(len(parts), len(boxes)):
        touching = (lows < highs[place]).all(axis=1) & (highs > lows[place]).all(axis=1)
        near = np.flatnonzero(kept & touching)
        common = np.array([_common(boxes[place], boxes[other]) for other in near])
        pieces = near[common >= PIECE * np.minimum(areas[near], areas[place])]
        height = _short_side(boxes[place])
        lines = sum(_short_side(boxes[piece]) < LINE * height for piece in pieces)
        paragraph = 2 * lines > len(pieces)
        known = (common >= SAME * np.maximum(areas[near], areas[place])).any()
        seen = height < tall and common.sum() >= PIECE * areas[place]
        if not (known or seen or paragraph):
            kept[pieces] = False
            kept[place] = True
    left = np.flatnonzero(kept)
    return boxes[left[np.argsort(-areas[left], kind="stable")]]


def _short_side(quad: NDArray[np.float32]) -> float:
    return min(dist(quad[0], quad[1]), dist(quad[0], quad[3]))


def _common(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The area that two boxes have in common."""
    return float(cv2.intersectConvexConvex(one, other)[0])


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
