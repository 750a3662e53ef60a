"""PNG, still or animated, of any depth. W3C PNG, third edition."""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.media import pillow
from services.media.info import ImageInfo, check_pixels, corrupt, describe, too_intricate
from services.media.orientation import read_orientation

MEDIA_TYPE: Final = "image/png"

MAX_CHUNKS: Final = 65_536
"""Chunks of one file; an encoder that writes 8 kB at a time needs 2,500 for 20 MB."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_DEEP_RGB: Final = (16, 2)
"""Bit depth and colour type of a picture with 16 bits a colour."""


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int


class _Parts(NamedTuple):
    """What a walk over the chunks found; `pixels` is a PNG of nothing but what makes pixels."""

    orientation: int
    frames: int
    pixels: bytes


def matches(data: bytes) -> bool:
    return data.startswith(_SIGNATURE)


def inspect(data: bytes) -> ImageInfo:
    header = _read_header(data)
    check_pixels(header.width, header.height)
    parts = _walk(data, header)
    return describe(MEDIA_TYPE, header.width, header.height, parts.orientation, parts.frames)


def decode(
    data: bytes, info: ImageInfo, min_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    return pillow.decode_rgb(_walk(data, _read_header(data)).pixels, "PNG", info.stored_size)


def _read_header(data: bytes) -> _Header:
    try:
        length, kind, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, 8)
    except struct.error as error:
        raise corrupt() from error
    if (length, kind) != (13, b"IHDR"):
        raise corrupt()
    return _Header(width, height, depth, colour)


def _walk(data: bytes, header: _Header) -> _Parts:
    """Check every chunk that makes pixels and drop the others: text, profiles, later frames.

    Pillow does not compare the checksums of pixel data, so this does.
    """
    makes_pixels = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
    if (header.depth, header.colour) == _DEEP_RGB:
        # A colour key of 16 bits cannot be met by the 8 that Pillow keeps.
        makes_pixels.remove(b"tRNS")
    kept = [_SIGNATURE]
    orientation, frames, position = 1, 1, len(_SIGNATURE)
    view = memoryview(data)
    for _ in range(MAX_CHUNKS):
        body, end = position + 8, position + 12 + int.from_bytes(view[position : position + 4])
        if end > len(data) or body > len(data):
            raise corrupt()
        kind = bytes(view[position + 4 : body])
        if kind in makes_pixels:
            checksum = int.from_bytes(view[end - 4 : end])
            if zlib.crc32(view[position + 4 : end - 4]) != checksum:
                raise corrupt()
            kept.append(data[position:end])
        elif kind == b"eXIf":
            orientation = read_orientation(data[body : end - 4])
        elif kind == b"acTL":
            frames = max(1, int.from_bytes(view[body : body + 4]) & 0x7FFFFFFF)
        if kind == b"IEND":
            return _Parts(orientation, frames, b"".join(kept))
        position = end
    raise too_intricate("chunks", MAX_CHUNKS)
