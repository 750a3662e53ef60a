"""JPEG: the same bits as Pillow, smaller when asked, and strict only where pixels are lost."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from services import errors
from services.media.decode import decode_rgb, inspect
from services.media.formats import jpeg
from services.media.rendition import make_rendition
from tests.support import photos


@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(640, 480), (333, 251), (17, 8), (1, 1)])
@pytest.mark.parametrize("quality", [60, 95])
def test_full_decode_equals_pillow(
    subsampling: int, progressive: bool, size: tuple[int, int], quality: int
):
    """Without `min_side` every bit is Pillow's."""
    data = photos.jpeg(*size, quality=quality, subsampling=subsampling, progressive=progressive)
    np.testing.assert_array_equal(decode_rgb(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    ("min_side", "shape"),
    [(1, (125, 188)), (125, (125, 188)), (126, (250, 375)), (512, (1000, 1500)), (2000, None)],
)
def test_decodes_smaller(min_side: int, shape: tuple[int, int] | None):
    """The smallest of 1/1, 1/2, 1/4, 1/8 whose sides are both at least `min_side`."""
    data = photos.jpeg(1500, 1000)
    pixels = decode_rgb(data, min_side=min_side)
    assert pixels.shape[:2] == (shape or (1000, 1500))


def test_smaller_looks_the_same():
    """A scaled decode is the picture that averaging would give, up to rounding and ringing."""
    data = photos.jpeg(800, 640, quality=95)
    small = decode_rgb(data, min_side=300).astype(int)
    averaged = np.asarray(Image.fromarray(decode_rgb(data)).reduce(2)).astype(int)
    assert small.shape == averaged.shape
    assert np.abs(small - averaged).mean() < 1.5


def test_min_side_holds_for_every_size():
    """No side is ever below `min_side` unless the image's own is."""
    for width, height in ((97, 1001), (801, 803), (1537, 1023)):
        data = photos.jpeg(width, height)
        for min_side in (1, 13, 97, 101, 224, 401, 512):
            rows, columns, _ = decode_rgb(data, min_side=min_side).shape
            assert rows >= min(min_side, height)
            assert columns >= min(min_side, width)


def test_threads_do_not_disturb_each_other():
    """Many threads that decode at once get what one gets."""
    data = [photos.jpeg(320, 240, seed=seed) for seed in range(4)]
    alone = [decode_rgb(one) for one in data]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(decode_rgb, data * 16))
    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % 4])


def test_unusual_sampling_is_decoded():
    """Chroma that the fast decoder has no name for is decoded all the same."""
    data = bytearray(photos.jpeg(64, 64, subsampling=1))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = 0x12  # luma 1x2: 4:4:0
    data[frame + 14] = 0x11
    assert decode_rgb(bytes(data)).shape == (64, 64, 3)
    data = bytearray(photos.jpeg(64, 64, subsampling=2))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = 0x14
    damaged = bytes(data)
    np.testing.assert_array_equal(decode_rgb(damaged), np.asarray(Image.open(io.BytesIO(damaged))))


def test_harmless_damage_is_overlooked():
    """A stray byte before a marker, as some cameras write, costs no pixel and is no error."""
    data = photos.jpeg(64, 64, progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xc4", first)
    stray = data[:second] + b"\0\0\0" + data[second:]
    np.testing.assert_array_equal(decode_rgb(stray), decode_rgb(data))
    _, rendition = make_rendition(stray)
    assert rendition != stray  # it is written anew, so that models decode it in one go
    with pytest.raises(errors.CorruptImage):
        decode_rgb(stray[: len(stray) // 2])


def test_bytes_after_the_end_are_no_matter():
    """Phones append videos and gain maps behind the picture."""
    data = photos.jpeg(64, 64)
    np.testing.assert_array_equal(decode_rgb(data + b"video" * 1000), decode_rgb(data))


@pytest.mark.parametrize("lie", ["two frames", "no frame", "no scan", "12 bits", "no height"])
def test_impossible_headers(lie: str):
    """A header that contradicts itself or the decoder is refused before decoding."""
    data = photos.jpeg(64, 64)
    at = data.index(b"\xff\xc0")
    end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    frame = data[at:end]
    changed = {
        "two frames": data[:at] + frame + data[at:],
        "no frame": data[:at] + data[end:],
        "no scan": data[: data.index(b"\xff\xda")],
        "12 bits": data[: at + 4] + b"\x0c" + data[at + 5 :],
        "no height": data[: at + 5] + b"\0\0" + data[at + 7 :],
    }[lie]
    expected = errors.UnsupportedFormat if lie == "12 bits" else errors.CorruptImage
    with pytest.raises(expected):
        inspect(changed)


def test_scans_without_end_are_refused():
    """A progressive image of more scans than any encoder writes is refused unread."""
    data = photos.jpeg(64, 64, progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    many = data[:-2] + scan * (jpeg.MAX_SCANS + 1) + data[-2:]
    with pytest.raises(errors.UnsupportedFormat) as raised:
        inspect(many)
    assert raised.value.limit == f"{jpeg.MAX_SCANS} scans"


def test_no_memory_is_overload(monkeypatch: pytest.MonkeyPatch):
    """Running out of memory is no fault of the image: try again later."""

    def fail(*_args: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(simplejpeg, "decode_jpeg", fail)
    with pytest.raises(errors.Overloaded):
        decode_rgb(photos.jpeg(8, 8))
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(errors.Overloaded):
        decode_rgb(photos.png(8, 8))
