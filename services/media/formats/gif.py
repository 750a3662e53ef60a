"""GIF, of which the first frame is looked at. GIF89a specification."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.media import pillow
from services.media.info import ImageInfo, check_pixels, corrupt, describe, too_intricate

MEDIA_TYPE: Final = "image/gif"

MAX_BLOCKS: Final = 500_000
"""Data blocks of one file; 20 MB in full blocks of 255 bytes are 78,000."""

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL: Final = 0xF9


class _Parts(NamedTuple):
    """What a walk over the blocks found; `first` is a GIF of the first frame alone."""

    width: int
    height: int
    frames: int
    first: bytes


def matches(data: bytes) -> bool:
    return data.startswith((b"GIF87a", b"GIF89a"))


def inspect(data: bytes) -> ImageInfo:
    parts = _walk(data)
    return describe(MEDIA_TYPE, parts.width, parts.height, frames=parts.frames)


def decode(
    data: bytes, info: ImageInfo, min_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    return pillow.decode_rgb(_walk(data).first, "GIF", info.stored_size)


def _walk(data: bytes) -> _Parts:
    """Find the first frame and count the others; comments and the like are left out."""
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        check_pixels(max(1, width), max(1, height))
        position = 13 + _palette_bytes(flags)
        kept = [data[:position]]
        frames, blocks = 0, 0
        while (kind := data[position]) != _TRAILER:
            start = position
            if kind == _IMAGE:
                left, top, w, h, flags = struct.unpack_from("<HHHHB", data, position + 1)
                position += 11 + _palette_bytes(flags)
                if frames == 0:
                    # As Pillow and browsers do, a first frame beyond the screen enlarges it.
                    width, height = max(width, left + w), max(height, top + h)
                    check_pixels(width, height)
            elif kind == _EXTENSION:
                position += 2
            else:
                raise corrupt()
            while length := data[position]:
                position += length + 1
                blocks += 1
            position += 1
            if blocks > MAX_BLOCKS:
                raise too_intricate("data blocks", MAX_BLOCKS)
            if frames == 0 and (kind == _IMAGE or data[start + 1] == _GRAPHIC_CONTROL):
                kept.append(data[start:position])
            frames += kind == _IMAGE
    except (struct.error, IndexError) as error:
        raise corrupt() from error
    if not frames:
        raise corrupt("has no frame")
    return _Parts(width, height, frames, b"".join((*kept, b";")))


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
