"""CenterNet's way from a rendition's bytes to its tensor, and from its output to a result.

Decoding is that of CenterNet (https://arxiv.org/abs/1904.07850, section 4): a peak of a kind's
heatmap is the centre of an object, and the other output says there how far its box reaches.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.detection.boxes import detection, inside
from services.detection.types import DetectionResult, Parameters
from services.inference.engine import Tensors
from services.inference.picture import Picture
from services.media.decode import decode_rgb

INPUT: Final = "images"
HEAT: Final = "keypoints"
REACH: Final = "wh"

MIN_DECODED: Final = 8
"""Pixels that the shorter side keeps when decoding scales: below, rounding would distort."""


class Frame(NamedTuple):
    """Where in the model's square an image lies: left, top, width, height in its pixels."""

    left: int
    top: int
    width: int
    height: int


def frame(width: int, height: int, side: int) -> Frame:
    """An image of any size in the middle of a square, its longer side as long as that."""
    long_side = max(width, height)
    fitted_width = max(1, round(width * side / long_side))
    fitted_height = max(1, round(height * side / long_side))
    return Frame(
        (side - fitted_width) // 2, (side - fitted_height) // 2, fitted_width, fitted_height
    )


def prepare(picture: Picture, parameters: Parameters) -> Tensors:
    """The model's input for an encoded rendition. Raises CorruptImage."""
    place = frame(picture.width, picture.height, parameters.side)
    min_side = max(MIN_DECODED, min(place.width, place.height))
    rgb = decode_rgb(picture.data, min_side=min_side)
    return {INPUT: preprocess(rgb, place, parameters)}


def preprocess(rgb: NDArray[np.uint8], place: Frame, parameters: Parameters) -> NDArray[np.uint8]:
    """uint8 RGB [H, W, 3] of any size to uint8 RGB [1, side, side, 3], black around `place`."""
    square = np.zeros((1, parameters.side, parameters.side, 3), np.uint8)
    if rgb.shape[:2] != (place.height, place.width):
        image = Image.fromarray(rgb)
        rgb = np.asarray(image.resize(place[2:], Image.Resampling.BILINEAR))
    square[0, place.top : place.top + place.height, place.left : place.left + place.width] = rgb
    return square


def postprocess(
    outputs: Tensors, width: int, height: int, parameters: Parameters
) -> DetectionResult:
    """The result of an image of this size: float32 [1, kinds, h, w] and float32 [1, 4, h, w]."""
    kinds, rows, columns = _peaks(outputs[HEAT][0], parameters)
    scores = outputs[HEAT][0][kinds, rows, columns]
    boxes = _boxes(outputs[REACH][0], rows, columns, parameters)
    boxes, has_area = inside(_in_original(boxes, width, height, parameters), width, height)
    kinds, scores, boxes = kinds[has_area], scores[has_area], boxes[has_area]
    kept = _best(boxes, kinds, parameters)
    return DetectionResult(
        tuple(detection(int(kinds[index]), float(scores[index]), boxes[index]) for index in kept)
    )


def _peaks(heat: NDArray[Any], parameters: Parameters) -> tuple[NDArray[Any], ...]:
    """Kind, row and column of what none of its eight neighbours exceeds, the highest first."""
    # Flat, and taken apart afterwards: in three dimensions this takes three times as long.
    high = np.flatnonzero(heat.ravel() >= parameters.min_score)
    kinds, rows, columns = np.unravel_index(high, heat.shape)
    scores = heat[kinds, rows, columns]
    highest = np.ones(len(scores), np.bool_)
    last_row, last_column = heat.shape[1] - 1, heat.shape[2] - 1
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            # Beyond the border a cell meets itself or a neighbour once more.
            row, column = rows + down, columns + right
            np.clip(row, 0, last_row, out=row)
            np.clip(column, 0, last_column, out=column)
            highest &= scores >= heat[kinds, row, column]
    kinds, rows, columns, scores = (a[highest] for a in (kinds, rows, columns, scores))
    order = np.argsort(-scores, kind="stable")[: parameters.max_peaks]
    return kinds[order], rows[order], columns[order]


def _boxes(
    reach: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], parameters: Parameters
) -> NDArray[np.float64]:
    """Left, top, right and bottom [n, 4] in pixels of the model's square."""
    x, y = columns * float(parameters.stride), rows * float(parameters.stride)
    left, top, right, bottom = reach[:, rows, columns].astype(np.float64)
    return np.stack([x - left, y - top, x + right, y + bottom], axis=1)


def _in_original(
    boxes: NDArray[np.float64], width: int, height: int, parameters: Parameters
) -> NDArray[np.float64]:
    """Boxes of the square as boxes of the original, and beyond its borders."""
    place = frame(width, height, parameters.side)
    offset = np.array([place.left, place.top] * 2)
    scale = np.array([width / place.width, height / place.height] * 2)
    placed: NDArray[np.float64] = (boxes - offset) * scale
    return placed


def _best(boxes: NDArray[np.float64], kinds: NDArray[Any], parameters: Parameters) -> list[int]:
    """Places of the boxes that no better one of the same kind overlaps too much."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    dropped = np.zeros(len(boxes), np.bool_)
    kept: list[int] = []
    for index in range(len(boxes)):
        if dropped[index]:
            continue
        kept.append(index)
        if len(kept) == parameters.max_detections:
            break
        sizes = np.minimum(boxes[:, 2:], boxes[index, 2:]) - np.maximum(
            boxes[:, :2], boxes[index, :2]
        )
        common = np.maximum(sizes, 0).prod(axis=1)
        overlap = common / (areas + areas[index] - common)
        dropped |= (overlap > parameters.max_iou) & (kinds == kinds[index])
    return kept
