"""Bytes of any format to upright pixels, and what their header says. Thread-safe.

Decoders release the GIL. Nothing is decoded before the header has passed the limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.media.formats import detect
from services.media.info import ImageInfo
from services.media.orientation import upright

__all__ = ["ImageInfo", "decode_rgb", "inspect"]


def inspect(data: bytes) -> ImageInfo:
    """Read an image's header; decodes nothing.

    Raises EmptyImage, ImageTooLarge, UnsupportedFormat, CorruptImage, TooManyPixels.
    """
    return detect(data).inspect(data)


def decode_rgb(data: bytes, *, min_side: int | None = None) -> NDArray[np.uint8]:
    """Upright RGB of the first frame: uint8 [H, W, 3], alpha on white, contiguous.

    With `min_side` a JPEG is decoded to 1/2, 1/4 or 1/8 of its size where both sides stay at least
    that long; without, a JPEG decodes to the very bits that Pillow gives. Raises as `inspect` does,
    and CorruptImage when the data is truncated or damaged.
    """
    format_ = detect(data)
    info = format_.inspect(data)
    min_size = None if min_side is None else (min_side, min_side)
    return upright(format_.decode(data, info, min_size), info.orientation)
