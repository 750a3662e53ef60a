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
class View:
    """A picture at a scale at which it is searched, uint8 [H, W, 3], with a margin all around.

    Coordinates of the original times `scale`, plus `margin`, are its own. Its sides are multiples
    of 32.
    """

    pixels: NDArray[np.uint8]
    scale: float
    margin: int

    def in_original(self, quads: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corners [n, 4, 2] of this view as corners of the original."""
        return (quads - np.float32(self.margin)) / np.float32(self.scale)


@dataclass(frozen=True, slots=True)
class Page:
    """A decoded picture: what lines are cut out of, uint8 [H, W, 3], upright, and what is searched.

    Coordinates of the original times `scale` are those of `rgb`. There is always one view; one that
    is too large for the detector to see at once comes after the whole at a scale that is not.
    """

    rgb: NDArray[np.uint8]
    scale: float
    views: tuple[View, ...]


def scales(width: int, height: int, parameters: Parameters) -> tuple[float, ...]:
    """What an image's sides are multiplied by to search it: for large letters, and for small."""
    enlarged = min(parameters.min_side / min(width, height), parameters.max_enlargement)
    fine = min(sqrt(parameters.max_pixels / (width * height)), max(1.0, enlarged))
    whole = (parameters.max_tile - 2 * parameters.margin) / max(width, height)
    return (fine,) if fine <= whole else (whole, fine)


def open_page(picture: Picture, parameters: Parameters) -> Page:
    """Decode a picture, smaller where nothing of it would be lost. Raises CorruptImage."""
    width, height = picture.width, picture.height
    searched = scales(width, height, parameters)
    scale = min(1.0, searched[-1] * parameters.read_scale)
    wanted = max(1, round(width * scale)), max(1, round(height * scale))
    rgb = decode_rgb(picture.data, min_side=min(wanted))
    if scale < 1.0:
        rgb = resized(rgb, *wanted)
    views = tuple(_view(rgb, width, height, one, parameters.margin) for one in searched)
    return Page(rgb, scale, views)


def _view(rgb: NDArray[np.uint8], width: int, height: int, scale: float, margin: int) -> View:
    small = resized(rgb, max(1, round(width * scale)), max(1, round(height * scale)))
    right = -(small.shape[1] + 2 * margin) % STRIDE + margin
    below = -(small.shape[0] + 2 * margin) % STRIDE + margin
    framed = cv2.copyMakeBorder(small, margin, below, margin, right, cv2.BORDER_REPLICATE)
    return View(np.asarray(framed, np.uint8), scale, margin)


def detector_input(pixels: NDArray[np.uint8]) -> Tensors:
    """What the detector takes: float32 BGR in [-1, 1], [1, 3, H, W]."""
    return {INPUT: normalized(pixels)[None]}


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
