"""From the picture of a logo to the features that it is recognized by."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.logo import sift
from services.logo.types import Features, Mark, MarkParameters

BACKGROUNDS: Final = (255, 0)
"""A mark without a background of its own is looked at on white and on black: an outline looks the
other way round on the other one, and a white mark on white not at all."""

FLAT: Final = 3.0
"""Standard deviation of grey below which nothing can be seen."""

_ALIKE: Final = 24
"""By how much a colour may differ from that of the border and still be background."""


def mark_of_drawing(
    brand: str,
    rgba: NDArray[np.uint8],
    parameters: MarkParameters = MarkParameters(),  # noqa: B008 -- frozen
) -> Mark:
    """The mark of a drawing on nothing: uint8 RGBA [H, W, 4], its longer side `side` pixels."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    colour = rgba[..., :3].astype(np.float32)
    found: list[Features] = []
    for background in BACKGROUNDS:
        picture = np.rint(colour * alpha + background * (1 - alpha)).astype(np.uint8)
        grey = _grey(picture)
        margin = parameters.margin
        features = _features(np.pad(grey, margin, constant_values=background), parameters)
        found.append(_new(features, found, parameters))
    height, width = rgba.shape[:2]
    return Mark(brand, float(width), float(height), _joined(found))


def mark_of_picture(
    brand: str,
    rgb: NDArray[np.uint8],
    parameters: MarkParameters = MarkParameters(),  # noqa: B008 -- frozen
) -> Mark:
    """The mark of a picture that shows a logo and little else: uint8 RGB [H, W, 3].

    A border of one colour is cut off: what remains is what corners and box will enclose.
    """
    cut = trimmed(rgb)
    height, width = cut.shape[:2]
    zoom = parameters.side / max(width, height)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    image = Image.fromarray(np.ascontiguousarray(cut)).resize(size, Image.Resampling.BICUBIC)
    grey = np.pad(_grey(np.asarray(image)), parameters.margin, mode="edge")
    # Seen once, so it may have as many features as a drawing has on all backgrounds.
    most = parameters.max_features * len(BACKGROUNDS)
    return Mark(brand, float(size[0]), float(size[1]), _features(grey, parameters, most))


def trimmed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture without the border that has the colour of its corners; whole when those differ."""
    corners = rgb[[0, 0, -1, -1], [0, -1, 0, -1]].astype(np.int16)
    if np.abs(corners - corners[0]).max() > _ALIKE:
        return rgb
    shown = np.abs(rgb.astype(np.int16) - corners[0]).max(axis=2) > _ALIKE
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(rows):
        return rgb
    return rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).convert("L"))


def _features(
    grey: NDArray[np.uint8], parameters: MarkParameters, max_features: int = 0
) -> Features:
    """In pixels of the mark without its margin."""
    if grey.std() < FLAT:
        return _joined([])
    found = sift.detect(grey, max_features or parameters.max_features, parameters.contrast)
    points = found.points.copy()
    points[:, :2] -= parameters.margin
    return Features(points, found.descriptors)


def _new(features: Features, known: list[Features], parameters: MarkParameters) -> Features:
    """Those that are not among the known ones: what is inside of a mark looks alike everywhere."""
    for other in known:
        if not len(other) or not len(features):
            continue
        apart = np.abs(features.points[:, None, :2] - other.points[None, :, :2]).max(axis=2)
        differ = features.descriptors[:, None].astype(np.int32) - other.descriptors[None]
        distance = np.sqrt((differ**2).sum(axis=2))
        same = (apart < parameters.same_place) & (distance < parameters.same_descriptor)
        features = features.take(~same.any(axis=1))
    return features


def _joined(found: list[Features]) -> Features:
    if not found:
        return Features(np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8))
    return Features(
        np.concatenate([one.points for one in found]),
        np.concatenate([one.descriptors for one in found]),
    )
