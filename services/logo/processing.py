"""From a rendition's bytes to the engine's tensor, and from its output to stored features."""

from __future__ import annotations

from struct import Struct, error
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.inference.engine import Tensors
from services.inference.picture import Picture
from services.logo.sift import DESCRIPTORS, INPUT, POINTS
from services.logo.types import FeatureParameters, Features
from services.media.decode import decode_rgb

MAGIC: Final = b"VLf\x01"
"""Ends in the layout's version."""

_HEAD: Final = Struct("<4sI")
_STEPS: Final = 65535
"""Places along a side, diameters and directions are kept in steps of a 16-bit number."""

FEATURE_BYTES: Final = 2 * 4 + 128


def prepare(picture: Picture, parameters: FeatureParameters) -> Tensors:
    """The engine's input for an encoded rendition. Raises CorruptImage."""
    width, height = looked_at(picture.width, picture.height, parameters.max_side)
    rgb = decode_rgb(picture.data, min_side=max(8, min(width, height)))
    return {INPUT: grey(rgb, width, height)}


def looked_at(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Width and height at which an image of this size is looked at: never enlarged."""
    long_side = max(width, height)
    if long_side <= max_side:
        return width, height
    return max(1, round(width * max_side / long_side)), max(1, round(height * max_side / long_side))


def grey(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """uint8 RGB [H, W, 3] as grey [height, width] (ITU-R 601)."""
    image = Image.fromarray(rgb).convert("L")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image)


def postprocess(outputs: Tensors) -> Features:
    """The engine's output as features, in pixels of what it looked at."""
    return Features(outputs[POINTS], outputs[DESCRIPTORS])


def pack(features: Features, width: int, height: int) -> bytes:
    """Features of a picture of this size, as they are kept: `FEATURE_BYTES` each.

    Places are kept as parts of the sides, so that they are those of any size of the same picture.
    """
    units = _units(width, height)
    # A keypoint at the border may lie a hair outside.
    steps = np.clip(np.rint(features.points / units * _STEPS), 0, _STEPS).astype("<u2")
    head = _HEAD.pack(MAGIC, len(features))
    return b"".join([head, steps.tobytes(), np.ascontiguousarray(features.descriptors).tobytes()])


def unpack(packed: bytes, width: int, height: int) -> Features:
    """What `pack` has packed, in pixels of a picture of this size.

    Raises ValueError when it is not that.
    """
    count = check_packed(packed)
    steps = np.frombuffer(packed, "<u2", count * 4, _HEAD.size).reshape(count, 4)
    points = (steps.astype(np.float32) / _STEPS * _units(width, height)).astype(np.float32)
    offset = _HEAD.size + steps.nbytes
    descriptors = np.frombuffer(packed, np.uint8, count * 128, offset).reshape(count, 128)
    return Features(points, descriptors)


def check_packed(packed: bytes) -> int:
    """How many features are packed. Raises ValueError when they are none that `pack` made."""
    try:
        magic, count = _HEAD.unpack_from(packed)
    except error as cause:
        raise ValueError("stored features are cut short") from cause
    if magic != MAGIC or len(packed) != _HEAD.size + count * FEATURE_BYTES:
        raise ValueError("stored features are none")
    return int(count)


def _units(width: int, height: int) -> NDArray[Any]:
    return np.array([width, height, max(width, height), 360.0], np.float32)
