"""From an image's bytes to the picture that is read, and to the detector's tensor."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inference.engine import Tensors
from services.inference.picture import Picture
from services.media.decode import decode_rgb
from services.ocr.types import Parameters

INPUT: Final = "x"

STRIDE: Final = 32
"""Both sides of what the detector takes are multiples of this."""


@dataclass(frozen=True, slots=True)
class Page:
    """A decoded picture, and how large it and what the detector sees of it are.

    `rgb` is uint8 [H, W, 3], upright. Coordinates of the original times `read` are those of `rgb`;
    times `seen`, plus `margin`, they are those of the detector.
    """

    rgb: NDArray[np.uint8]
    read: float
    seen: float
    margin: int


def seen_scale(width: int, height: int, parameters: Parameters) -> float:
    """What an image's sides are multiplied by for the detector."""
    small = min(parameters.min_side / min(width, height), parameters.max_enlargement)
    return min(sqrt(parameters.max_pixels / (width * height)), max(1.0, small))


def open_page(picture: Picture, parameters: Parameters) -> Page:
    """Decode a picture, smaller where nothing of it would be lost. Raises CorruptImage."""
    width, height = picture.width, picture.height
    seen = seen_scale(width, height, parameters)
    read = min(1.0, seen * parameters.read_scale)
    wanted = max(1, round(width * read)), max(1, round(height * read))
    rgb = decode_rgb(picture.data, min_side=min(wanted))
    if read < 1.0:
        rgb = resized(rgb, *wanted)
    return Page(rgb, read, seen, parameters.margin)


def detector_input(page: Page, width: int, height: int) -> Tensors:
    """What the detector sees of a page whose original has this size.

    float32 BGR in [-1, 1], [1, 3, H, W], grown by its own border on all sides.
    """
    small = resized(page.rgb, max(1, round(width * page.seen)), max(1, round(height * page.seen)))
    around = page.margin
    right = -(small.shape[1] + 2 * around) % STRIDE + around
    below = -(small.shape[0] + 2 * around) % STRIDE + around
    framed = cv2.copyMakeBorder(small, around, below, around, right, cv2.BORDER_REPLICATE)
    return {INPUT: normalized(np.asarray(framed, np.uint8))[None]}


def normalized(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB [H, W, 3] as float32 BGR in [-1, 1], [3, H, W]."""
    planes = np.empty((3, *rgb.shape[:2]), np.float32)
    for plane, channel in enumerate((2, 1, 0)):
        np.multiply(rgb[:, :, channel], np.float32(2 / 255), out=planes[plane])
    planes -= 1
    return planes


def resized(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] at another size: averaged where it shrinks, interpolated where it grows."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = width * height < rgb.shape[0] * rgb.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)
