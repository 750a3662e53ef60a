"""AVIF: what is decoded is what the boxes say."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from services import errors
from services.media import info
from services.media.decode import decode_rgb, inspect
from services.media.formats import av1
from tests.support import photos

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "4:4:4": {"subsampling": "4:4:4"},
    "lossless": {"quality": 100},
    "tiles": {"tile_rows": 1, "tile_cols": 1},
    "animated": photos.frames(70, 50, 3),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("size", [(1, 1), (17, 3), (64, 64), (257, 129), (1024, 640)])
def test_ordinary_files_are_read(size: tuple[int, int], name: str):
    """Sizes that are odd, powers of two and one more; each subsampling; tiles; animations."""
    if name == "animated":
        size = (70, 50)
    data = photos.avif(*size, **OPTIONS[name])
    found = inspect(data)
    assert (found.width, found.height) == size
    assert decode_rgb(data).shape == (size[1], size[0], 3)


def _patched(data: bytes, width: int, height: int) -> bytes:
    size = data[data.index(b"ispe") + 8 :][:8]
    return data.replace(b"ispe\0\0\0\0" + size, b"ispe\0\0\0\0" + struct.pack(">II", width, height))


@pytest.mark.parametrize("name", ["avif", "avif alpha", "avif grey", "avif animated"])
@pytest.mark.parametrize("size", [(10, 10), (160, 121), (5000, 5000)])
def test_a_stated_size_that_lies(name: str, size: tuple[int, int]):
    """A picture that is larger or smaller than its `ispe` is refused before it is decoded."""
    with pytest.raises(errors.CorruptImage):
        inspect(_patched(photos.SAMPLES[name](), *size))


def test_a_coded_size_beyond_the_limit(monkeypatch: pytest.MonkeyPatch):
    """The limit of pixels is kept by the coded size, not only by the stated one."""
    monkeypatch.setattr(info, "MAX_IMAGE_PIXELS", 160 * 120 - 1)
    with pytest.raises(errors.TooManyPixels):
        inspect(_patched(photos.SAMPLES["avif"](), 10, 10))


@pytest.mark.parametrize(
    "sample", [b"", b"\x12\0", b"\x0a\x01\x18", b"\x0a\xff", b"\x0a" + b"\xff" * 9]
)
def test_samples_without_a_size(sample: bytes):
    """Data whose sequence header is missing or cut is corrupt."""
    with pytest.raises(errors.CorruptImage):
        av1.coded_size(memoryview(sample))
