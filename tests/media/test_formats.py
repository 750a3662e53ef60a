"""The five formats: every mode is read, every lie is found, nothing is decoded too early."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from services import errors
from services.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from services.media.decode import decode_rgb, inspect
from services.media.formats import MEDIA_TYPES, gif, jpeg, png, webp
from tests.support import photos

FORMATS = sorted({name.partition(" ")[0] for name in photos.SAMPLES})
PLAIN = {name: photos.SAMPLES[name] for name in FORMATS}
NOT_THE_PILLOW_WAY = {"png 16 bit grey"}


def by_pillow(data: bytes) -> np.ndarray:
    """The first frame on white, by a decoder and a compositor that are not ours."""
    image = Image.open(io.BytesIO(data))
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return np.asarray(white.convert("RGB"))


@pytest.mark.parametrize("name", sorted(photos.SAMPLES.keys() - NOT_THE_PILLOW_WAY))
def test_every_mode_decodes_as_pillow_does(name: str):
    """Colour, grey, palette, CMYK, 16 bits, 1 bit, alpha: upright RGB, alpha on white."""
    data = photos.SAMPLES[name]()
    pixels = decode_rgb(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, by_pillow(data))


def test_16_bits_of_grey_keep_the_high_byte():
    """16-bit grey becomes its high byte, where a plain conversion would clip to white."""
    grey = photos.picture(160, 120)[..., :1]
    np.testing.assert_array_equal(
        decode_rgb(photos.deep_grey_png(160, 120)), grey.repeat(3, axis=2)
    )


def test_transparent_16_bit_grey_is_white():
    """The colour key of 16-bit grey is transparent, and transparent is white."""
    rows = b"\0\x12\x34\x80\x00"
    data = photos.png_of(2, 1, 16, 0, rows, [(b"tRNS", b"\x12\x34")])
    assert decode_rgb(data).tolist() == [[[255] * 3, [0x80] * 3]]


@pytest.mark.parametrize("name", photos.SAMPLES)
def test_header_says_what_decoding_gives(name: str):
    """Size, type and frames of the header are those of the decoded image."""
    data = photos.SAMPLES[name]()
    info = inspect(data)
    assert (info.height, info.width) == decode_rgb(data).shape[:2]
    assert info.media_type == f"image/{name.partition(' ')[0]}"
    assert info.media_type in MEDIA_TYPES
    assert info.frames == (3 if "animated" in name else 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 1), (7, 9)])
@pytest.mark.parametrize("name", FORMATS)
def test_small_and_thin(name: str, size: tuple[int, int]):
    """Images of a few pixels are images."""
    data = photos.encode(photos.photo(*size), name.upper())
    assert decode_rgb(data).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", errors.EmptyImage),
        (b"Dear Sir or Madam", errors.UnsupportedFormat),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", errors.UnsupportedFormat),
        (b"BM" + bytes(100), errors.UnsupportedFormat),
        (b"II*\0" + bytes(100), errors.UnsupportedFormat),
        (b"\0\0\0\x18ftypheic" + bytes(100), errors.UnsupportedFormat),
        (b"\xff\xd8\xff", errors.CorruptImage),
        (b"\x89PNG\r\n\x1a\n", errors.CorruptImage),
        (b"RIFF\0\0\0\0WEBP", errors.CorruptImage),
        (b"GIF89a", errors.CorruptImage),
        (b"\0\0\0\x18ftypavif" + bytes(12), errors.CorruptImage),
        (b"\xff\xd8\xff\xe0" + bytes(MAX_IMAGE_BYTES), errors.ImageTooLarge),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value[:12]),
)
def test_what_is_no_image(data: bytes, error: type[errors.VisionmeshError]):
    """What is not one of the five formats, or only begins as one, is named; so is the field."""
    for read in (inspect, decode_rgb):
        with pytest.raises(error) as raised:
            read(data)
        assert raised.value.field == "data"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("name", photos.SAMPLES)
def test_truncated_is_corrupt(name: str, share: float):
    """Any format that breaks off anywhere is CorruptImage once it is decoded."""
    data = photos.SAMPLES[name]()
    cut = data[: max(16, int(len(data) * share))]
    with pytest.raises(errors.CorruptImage):
        decode_rgb(cut)


@pytest.mark.parametrize("name", FORMATS)
def test_one_byte_short_is_corrupt(name: str):
    """Even the last byte is missed."""
    with pytest.raises(errors.CorruptImage):
        decode_rgb(PLAIN[name]()[:-1])


def _with(data: bytes, at: int, layout: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


def _huge(name: str) -> bytes:
    """A small file of each format whose header says more pixels than are allowed."""
    data = PLAIN[name]()
    match name:
        case "jpeg":
            return _with(data, data.index(b"\xff\xc0") + 5, ">HH", 30_000, 30_000)
        case "png":
            return photos.huge_png()
        case "webp":
            return _with(data, 26, "<HH", 16_383, 16_383)
        case "avif":
            return _with(data, data.index(b"ispe") + 8, ">II", 30_000, 30_000)
        case _:
            return _with(data, 6, "<HH", 30_000, 30_000)


@pytest.mark.parametrize("name", FORMATS)
def test_a_bomb_costs_nothing(name: str):
    """A header with too many pixels is refused by its limit before memory is taken."""
    data = _huge(name)
    tracemalloc.start()
    try:
        for read in (inspect, decode_rgb):
            with pytest.raises(errors.TooManyPixels) as raised:
                read(data)
            assert raised.value.field == "data"
            assert raised.value.limit == f"{MAX_IMAGE_PIXELS} pixels"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_first_frame_beyond_the_screen_counts():
    """A GIF with a small screen and a huge first frame has the frame's size."""
    data = bytearray(photos.gif(16, 16))
    at = data.index(b"\x2c\0\0\0\0\x10\0\x10\0")
    struct.pack_into("<HH", data, at + 5, 60_000, 60_000)
    with pytest.raises(errors.TooManyPixels):
        inspect(bytes(data))


def test_limit_is_inclusive():
    """Exactly as many pixels as allowed are allowed, one row more is not."""
    side = 10_000
    rows = MAX_IMAGE_PIXELS // side
    assert inspect(photos.huge_png(side, rows)).pixels == MAX_IMAGE_PIXELS
    with pytest.raises(errors.TooManyPixels):
        inspect(photos.huge_png(side, rows + 1))


def test_text_of_a_png_is_never_inflated():
    """Compressed text and profiles that would be gigabytes are neither read nor an error."""
    bomb = zlib.compress(bytes(50_000_000), 9)
    extra = [
        (b"zTXt", b"Comment\0\0" + bomb),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        (b"iCCP", b"profile\0\0" + bomb),
    ]
    rows = (b"\0" + bytes(3 * 8)) * 8
    tracemalloc.start()
    try:
        assert decode_rgb(photos.png_of(8, 8, 8, 2, rows, extra)).shape == (8, 8, 3)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif"])
def test_exif_is_not_multiplied(name: str):
    """EXIF entries that all point at the same bytes are not copied once each."""
    count, length = 400, 60_000
    entries = b"".join(struct.pack("<HHII", 0x8000 + i, 7, length, 8) for i in range(count))
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(length - 4802)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about this very block, when Pillow writes it
        data = photos.encode(photos.photo(64, 64), name.upper(), exif=block)
    assert data.count(struct.pack("<H", 0x8000 + 17)) > 0
    tracemalloc.start()
    try:
        assert inspect(data).orientation == 1
        assert decode_rgb(data).shape == (64, 64, 3)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_png_checksums_are_compared():
    """A flipped bit in pixel data that still inflates is found by the chunk's checksum."""
    data = bytearray(photos.png_of(8, 8, 8, 2, (b"\0" + bytes(24)) * 8))
    data[data.index(b"IDAT") - 5 + 13] ^= 1
    with pytest.raises(errors.CorruptImage):
        decode_rgb(bytes(data))


def test_parts_without_end_are_refused():
    """Files of nothing but tiny parts are refused by their count, each format by its own."""
    text = photos.png_chunk(b"tEXt", b"")
    start = photos.png_of(8, 8, 8, 2)[:33]
    small = photos.webp(8, 8, exif=photos.exif(1))
    body = small[12:] + b"NONE\0\0\0\0" * (webp.MAX_CHUNKS + 1)
    endless = {
        "chunks": [
            start + text * (png.MAX_CHUNKS + 1),
            b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body,
        ],
        "segments": [b"\xff\xd8" + b"\xff\xe1\0\2" * (jpeg.MAX_SEGMENTS + 1)],
        "data blocks": [
            b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1x" * (gif.MAX_BLOCKS + 1) + b"\0;",
        ],
    }
    for what, files in endless.items():
        for data in files:
            with pytest.raises(errors.UnsupportedFormat) as raised:
                inspect(data)
            assert raised.value.limit.endswith(what)


def test_a_gif_without_a_picture_is_corrupt():
    """A GIF that ends before its first frame has nothing to look at."""
    with pytest.raises(errors.CorruptImage):
        inspect(b"GIF89a\1\0\1\0\0\0\0;")
