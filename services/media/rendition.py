"""The upright RGB picture of at most 1536 pixels that detection, nsfw and logo look at.

docs/decisions/renditions.md says why it is made as it is, with the measurements.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from services.media.formats import detect, jpeg
from services.media.info import ImageInfo
from services.media.orientation import upright

MAX_SIDE: Final = 1536
"""Longer side of a rendition, in pixels."""

QUALITY: Final = 90
SUBSAMPLING: Final = "420"
FILTER: Final = Image.Resampling.BICUBIC


def make_rendition(data: bytes) -> tuple[ImageInfo, bytes]:
    """What the image is, and its rendition as JPEG; all of the image is decoded, at some scale.

    An upright JPEG that is small enough is its own rendition: then the very same object comes back.
    Deterministic. Raises EmptyImage, ImageTooLarge, UnsupportedFormat, CorruptImage, TooManyPixels.
    """
    info = detect(data).inspect(data)
    return info, render(data, info)


def render(data: bytes, info: ImageInfo) -> bytes:
    """The rendition of an image whose header has been read."""
    if _may_serve_itself(data, info):
        # The smallest scale still reads all of the entropy-coded data, where damage shows.
        _, warned = jpeg.decode_with_warning(data, info, (1, 1))
        if not warned:
            return data
    width, height = _fitted(*info.stored_size)
    pixels = detect(data).decode(data, info, (width, height))
    return _encode(upright(_resized(pixels, width, height), info.orientation))


def rendition_size(info: ImageInfo) -> tuple[int, int]:
    """Width and height in pixels of the rendition of an image."""
    return _fitted(info.width, info.height)


def _may_serve_itself(data: bytes, info: ImageInfo) -> bool:
    if info.media_type != jpeg.MEDIA_TYPE or info.orientation != 1:
        return False
    header = jpeg.read_header(data)
    readable = header.frame in (*jpeg.SEQUENTIAL, jpeg.PROGRESSIVE) and header.components in (1, 3)
    return readable and max(info.width, info.height) <= MAX_SIDE


def _fitted(width: int, height: int) -> tuple[int, int]:
    long_side = max(width, height)
    if long_side <= MAX_SIDE:
        return width, height
    return (
        max(1, (width * MAX_SIDE + long_side // 2) // long_side),
        max(1, (height * MAX_SIDE + long_side // 2) // long_side),
    )


def _resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), FILTER))


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels),
        quality=QUALITY,
        colorspace="RGB",
        colorsubsampling=SUBSAMPLING,
        fastdct=False,
    )
    return encoded
