"""WebP, lossy, lossless or animated. RFC 9649."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.media import pillow
from services.media.info import ImageInfo, check_pixels, corrupt, describe, too_intricate
from services.media.orientation import read_orientation

MEDIA_TYPE: Final = "image/webp"

MAX_CHUNKS: Final = 65_536
"""Chunks of one file, one a frame and a few more."""

_HAS_EXIF: Final = 0x08
_ANIMATED: Final = 0x02


def matches(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def inspect(data: bytes) -> ImageInfo:
    try:
        width, height, flags = _read_header(data)
        check_pixels(width, height)
        end = 8 + struct.unpack_from("<I", data, 4)[0]
        if end > len(data):
            raise corrupt()
        orientation, frames = _walk(data, end) if flags & (_HAS_EXIF | _ANIMATED) else (1, 1)
    except (struct.error, IndexError) as error:
        raise corrupt() from error
    return describe(MEDIA_TYPE, width, height, orientation, frames)


def decode(
    data: bytes, info: ImageInfo, min_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    return pillow.decode_rgb(data, "WEBP", info.stored_size)


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Width and height of the canvas, and the flags of an extended header."""
    kind = data[12:16]
    if kind == b"VP8X":
        flags, width, height = data[20], data[24:27], data[27:30]
        if len(height) < 3:
            raise corrupt()
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1, flags
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature == 0x2F:
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 0
    if kind == b"VP8 ":
        start_code, width, height = struct.unpack_from("<3sHH", data, 23)
        if start_code == b"\x9d\x01\x2a":
            return width & 0x3FFF, height & 0x3FFF, 0
    raise corrupt()


def _walk(data: bytes, end: int) -> tuple[int, int]:
    """Orientation, and the number of frames."""
    orientation, frames, position = 1, 0, 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            return orientation, max(1, frames)
        kind, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            orientation = read_orientation(data[body : body + length])
        position = body + length + (length & 1)
    raise too_intricate("chunks", MAX_CHUNKS)
