"""Orientation: every format that has one comes out upright."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.media.decode import decode_rgb, inspect
from services.media.orientation import read_orientation, upright
from services.media.rendition import make_rendition
from tests.support import photos

LOSSLESS: dict[str, Callable[[Image.Image, bytes], bytes]] = {
    "png": lambda image, exif: photos.encode(image, "PNG", exif=exif),
    "webp": lambda image, exif: photos.encode(image, "WEBP", lossless=True, method=0, exif=exif),
}
LOSSY: dict[str, Callable[[Image.Image, bytes], bytes]] = {
    "jpeg": lambda image, exif: photos.encode(image, "JPEG", quality=95, subsampling=0, exif=exif),
    "avif": lambda image, exif: photos.encode(image, "AVIF", quality=95, speed=10, exif=exif),
}
EVERY = range(1, 9)


def coarse(pixels: NDArray[np.uint8]) -> NDArray[np.int_]:
    """A thumbnail of 9 x 6: compression hardly changes it, a wrong turn does by more than 50."""
    return np.asarray(Image.fromarray(pixels).resize((9, 6), Image.Resampling.BOX)).astype(int)


@pytest.mark.parametrize("orientation", EVERY)
@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_comes_out_upright(name: str, orientation: int):
    """A picture stored in any of the eight ways is decoded upright, and its size is upright."""
    straight = photos.photo(90, 60)
    stored = photos.lying_down(straight, orientation)
    data = (LOSSLESS | LOSSY)[name](stored, photos.exif(orientation))
    info = inspect(data)
    pixels = decode_rgb(data)
    assert (info.width, info.height, info.orientation) == (90, 60, orientation)
    assert info.stored_size == stored.size
    assert pixels.shape == (60, 90, 3)
    assert pixels.flags.c_contiguous
    if name in LOSSLESS:
        np.testing.assert_array_equal(pixels, np.asarray(straight))
    else:
        assert np.abs(coarse(pixels) - coarse(np.asarray(straight))).max() < 10


@pytest.mark.parametrize("orientation", EVERY)
def test_rendition_is_upright(orientation: int):
    """A rendition needs no orientation any more, whether it was scaled or not."""
    for size in ((90, 60), (1800, 1200)):
        straight = photos.photo(*size)
        stored = photos.lying_down(straight, orientation)
        info, rendition = make_rendition(
            photos.encode(stored, "JPEG", quality=95, exif=photos.exif(orientation))
        )
        assert (info.width, info.height) == size
        assert inspect(rendition).orientation == 1
        pixels = decode_rgb(rendition)
        assert pixels.shape[1] == min(size[0], 1536)
        assert np.abs(coarse(pixels) - coarse(np.asarray(straight))).max() < 10


@pytest.mark.parametrize("orientation", EVERY)
def test_turning_is_exifs(orientation: int):
    """Each turn undoes what Pillow's transpositions did to an array without symmetry."""
    straight = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    stored = np.asarray(photos.lying_down(Image.fromarray(straight), orientation))
    np.testing.assert_array_equal(upright(stored, orientation), straight)


def _tiff(order: str, kind: int, value: int, before: int = 0) -> bytes:
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    other = struct.pack(f"{order}HHII", 0x0100, 4, 1, 640) * before
    entry = struct.pack(f"{order}HHIHH", 0x0112, kind, 1, value, 0)
    return header + struct.pack(f"{order}H", before + 1) + other + entry


@pytest.mark.parametrize("order", "<>")
def test_reads_both_byte_orders(order: str):
    """Both byte orders, other tags before it, with and without the prefix of JPEG's segments."""
    block = _tiff(order, 3, 6, before=5)
    assert read_orientation(block) == 6
    assert read_orientation(b"Exif\0\0" + block) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"XX*\0" + bytes(40),
        b"II*\0\xff\xff\xff\xff",
        _tiff("<", 3, 6)[:-6],
        _tiff("<", 3, 0),
        _tiff("<", 3, 9),
        _tiff("<", 4, 6),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(30),
    ],
)
def test_nonsense_is_upright(block: bytes):
    """Metadata that makes no sense turns nothing and spoils no image."""
    assert read_orientation(block) == 1
