"""AVIF, still or animated, turned by its own `irot` and `imir`. ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.limits import MAX_IMAGE_PIXELS
from services.media import pillow
from services.media.formats.av1 import coded_size
from services.media.formats.avif_samples import first_sample, item_samples
from services.media.info import ImageInfo, check_pixels, corrupt, describe, too_intricate

MEDIA_TYPE: Final = "image/avif"

MAX_BOXES: Final = 65_536
"""Boxes of one file, all levels together."""

MAX_CODED: Final = 3
"""How many times the limit of pixels all items together may have: picture, alpha, and smaller ones;
a grid's tiles are an item each."""

_BRANDS: Final = {b"avif", b"avis"}
_CONTAINERS: Final = {
    b"meta": 4,
    b"moov": 0,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"iprp": 0,
    b"ipco": 0,
}
"""Boxes that hold what is looked for, with the length of what precedes their children."""


def matches(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4]), 512)]
    return any(brands[i : i + 4] in _BRANDS for i in range(0, len(brands), 4) if i != 4)


def inspect(data: bytes) -> ImageInfo:
    width, height, frames, orientation = pillow.read_size(_without_exif(data), "AVIF")
    try:
        _check_coded(data, (width, height))
    except (struct.error, IndexError) as error:
        raise corrupt() from error
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


def _check_coded(data: bytes, size: tuple[int, int]) -> None:
    """That what is coded has the size that the boxes say: libavif decodes before it scales."""
    once: dict[bytes, tuple[int, int]] = {}
    coded: set[int] = set()
    stated: set[tuple[int, int]] = set()
    for kind, start, end in _boxes(data):
        if kind in (b"iloc", b"idat", b"pitm") and once.setdefault(kind, (start, end))[0] != start:
            raise corrupt()
        if kind == b"infe" and data[start] >= 2:
            at = start + (8 if data[start] == 2 else 10)
            if data[at : at + 4] == b"av01":
                coded.add(int.from_bytes(data[start + 4 : at - 2]))
        elif kind == b"ispe":
            stated.add(struct.unpack_from(">II", data, start + 4))
        elif kind == b"stbl":
            tables = {table: (begin, stop) for table, begin, stop in _boxes(data, start, end)}
            sample = first_sample(data, tables)
            if sample is not None and coded_size(sample) != size:
                raise corrupt()
    if b"iloc" not in once or b"pitm" not in once:
        raise corrupt()
    at, stop = once[b"pitm"]
    primary = int.from_bytes(data[at + 4 : min(stop, at + (6 if data[at] == 0 else 8))])
    total = 0
    for item, sample in item_samples(data, once[b"iloc"], once.get(b"idat"), coded):
        found = coded_size(sample)
        total += found[0] * found[1]
        if found not in stated or (item == primary and found != size):
            raise corrupt()
        coded.discard(item)
    if coded:
        raise corrupt()
    if total > MAX_CODED * MAX_IMAGE_PIXELS:
        check_pixels(total, 1)


def _boxes(
    data: bytes, begin: int = 0, stop: int | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """Every box that matters, as its type and where its content begins and ends."""
    pending = [(begin, len(data) if stop is None else stop)]
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
            box_end = end if length == 0 else min(position + length, end)
            if box_end < start:
                raise corrupt()
            yield kind, start, box_end
            if kind in _CONTAINERS:
                pending.append((start + _CONTAINERS[kind], box_end))
            elif kind == b"iinf" and start < box_end:
                pending.append((start + (6 if data[start] == 0 else 8), box_end))
            position = box_end
