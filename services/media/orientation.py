"""EXIF orientation: reading the one tag that changes pixels, and turning them upright.

The tag is read here and not by Pillow, which copies the value of every tag to find one: entries
that all point at the same bytes are multiplied, in older versions without a bound.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ORIENTATION: Final = 0x0112
_SHORT: Final = 3
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_EXIF_PREFIX: Final = b"Exif\0\0"


def read_orientation(exif: bytes) -> int:
    """Orientation 1 to 8 of an EXIF block (TIFF, with or without `Exif\\0\\0` in front).

    1, upright, when the block does not say or makes no sense: bad metadata spoils no image.
    """
    tiff = exif.removeprefix(_EXIF_PREFIX)
    order = _ORDERS.get(bytes(tiff[:2]))
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        entry = struct.Struct(f"{order}HHIH")
        for position in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, _, value = entry.unpack_from(tiff, position)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn [H, W, C] pixels as EXIF's orientation 1 to 8 says; contiguous, 5 to 8 swap H and W.

    CIPA DC-008 (Exif 2.32), table 6.
    """
    if orientation == 1:
        return pixels
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
