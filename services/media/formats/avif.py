"""AVIF, still or animated, turned by its own `irot` and `imir`. ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.media import pillow
from services.media.info import ImageInfo, check_pixels, corrupt, describe, too_intricate

MEDIA_TYPE: Final = "image/avif"

MAX_BOXES: Final = 65_536
"""Boxes of one file, all levels together."""

_BRANDS: Final = {b"avif", b"avis"}
_CONTAINERS: Final = {b"meta": 4, b"moov": 0, b"trak": 0, b"iprp": 0, b"ipco": 0}
"""Boxes that hold what is looked for, with the length of what precedes their children."""


def matches(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4]), 512)]
    return any(brands[i : i + 4] in _BRANDS for i in range(0, len(brands), 4) if i != 4)


def inspect(data: bytes) -> ImageInfo:
    width, height, frames, orientation = pillow.read_size(_without_exif(data), "AVIF")
    return describe(MEDIA_TYPE, width, height, orientation, frames)


def decode(
    data: bytes, info: ImageInfo, min_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    return pillow.decode_rgb(_without_exif(data), "AVIF", info.stored_size)


def _without_exif(data: bytes) -> bytes:
    """The same file with its EXIF items renamed, so that nobody reads them; sizes are checked.

    Pillow parses all EXIF when it opens a file (see `orientation`). It turns nothing here: in AVIF
    only `irot` and `imir` do.
    """
    patched = bytearray(data)
    try:
        for kind, start, end in _boxes(data):
            if kind == b"infe" and data[start] >= 2:
                # Version and flags, then an item id of 2 or 4 bytes, an index of 2, the type.
                at = start + (8 if data[start] == 2 else 10)
                if data[at : at + 4] == b"Exif":
                    patched[at : at + 4] = b"skip"
            elif kind == b"ispe" and end - start >= 12:
                check_pixels(*struct.unpack_from(">II", data, start + 4))
    except (struct.error, IndexError) as error:
        raise corrupt() from error
    return bytes(patched)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Every box that matters, as its type and where its content begins and ends."""
    pending = [(0, len(data))]
    seen = 0
    while pending:
        position, end = pending.pop()
        while position + 8 <= end:
            seen += 1
            if seen > MAX_BOXES:
                raise too_intricate("boxes", MAX_BOXES)
            length, kind = struct.unpack_from(">I4s", data, position)
            start = position + 8
            if length == 1:
                (length,) = struct.unpack_from(">Q", data, start)
                start += 8
            stop = end if length == 0 else min(position + length, end)
            if stop < start:
                raise corrupt()
            yield kind, start, stop
            if kind in _CONTAINERS:
                pending.append((start + _CONTAINERS[kind], stop))
            elif kind == b"iinf" and start < stop:
                pending.append((start + (6 if data[start] == 0 else 8), stop))
            position = stop
