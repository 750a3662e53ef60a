"""JPEG through libjpeg-turbo, which can decode to a smaller size for less.

ITU-T T.81 for the markers, JFIF and Exif for what is in them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from services import errors
from services.media import pillow
from services.media.info import FIELD, ImageInfo, check_pixels, corrupt, describe, too_intricate
from services.media.orientation import read_orientation

MEDIA_TYPE: Final = "image/jpeg"

MAX_SEGMENTS: Final = 4096
"""Segments before the first scan; a 20 MB file of metadata in full segments has 305."""

MAX_SCANS: Final = 100
"""Scans of a progressive image; encoders write about 10, and each one costs a pass over the
coefficients whatever its length: https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf
"""

SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
"""Frame markers of baseline and extended sequential images."""

PROGRESSIVE: Final = 0xC2

_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HARMLESS: Final = (
    "extraneous bytes before marker",
    "Unknown Adobe color transform",
    "unknown JFIF revision",
    "Invalid SOS parameters",
    "bad ICC marker",
)
"""libjpeg's warnings (jerror.h) about files that every viewer shows; others mean lost pixels."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the first scan. `frame` is the SOF marker, 0xC0 to 0xCF."""

    width: int
    height: int
    frame: int
    components: int
    orientation: int
    segments: tuple[tuple[int, int, int], ...]
    """Marker, start and end of each segment."""
    scan: int
    """Where the first scan begins."""


def matches(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8\xff")


def inspect(data: bytes) -> ImageInfo:
    header = read_header(data)
    if header.frame not in SEQUENTIAL:
        _check_scans(data, header)
    return describe(MEDIA_TYPE, header.width, header.height, header.orientation)


def _check_scans(data: bytes, header: Header) -> None:
    # 1 µs for 1 kB, so not for sequential files, whose scans cannot be empty without a warning.
    if data.count(b"\xff\xda", header.scan) > MAX_SCANS:
        raise too_intricate("scans", MAX_SCANS)


def read_header(data: bytes) -> Header:
    """Walk the segments up to the first scan. Raises CorruptImage."""
    segments: list[tuple[int, int, int]] = []
    frame: tuple[int, int, int, int] | None = None
    orientation, position = 1, 2
    try:
        for _ in range(MAX_SEGMENTS):
            found = _MARKER.search(data, position)
            if found is None or (marker := found[1][0]) == _EOI:
                raise corrupt()
            position = found.end()
            if marker in _ALONE:
                continue
            (length,) = struct.unpack_from(">H", data, position)
            start, end = position + 2, position + length
            if marker == _SOS:
                if frame is None:
                    raise corrupt()
                kind, height, width, components = frame
                return Header(
                    width, height, kind, components, orientation, tuple(segments), found.start()
                )
            if marker in _FRAMES:
                if frame is not None:
                    raise corrupt()
                frame = (marker, *_read_frame(data, start))
            elif marker == _APP1 and data.startswith(b"Exif\0", start) and orientation == 1:
                orientation = read_orientation(data[start:end])
            segments.append((marker, found.start(), end))
            position = max(end, start)
    except struct.error as error:
        raise corrupt() from error
    raise too_intricate("segments", MAX_SEGMENTS)


def _read_frame(data: bytes, start: int) -> tuple[int, int, int]:
    precision, height, width, components = struct.unpack_from(">BHHB", data, start)
    if precision != 8:
        raise errors.UnsupportedFormat(
            f"{FIELD}: a JPEG of {precision} bits", field=FIELD, limit="8 bits a sample"
        )
    check_pixels(width, height)
    return height, width, components


def decode(
    data: bytes, info: ImageInfo, min_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    pixels, _ = decode_with_warning(data, info, min_size)
    return pixels


def decode_with_warning(
    data: bytes, info: ImageInfo, min_size: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], bool]:
    """Pixels, and whether libjpeg had to overlook something that spoils none of them.

    A full decode equals Pillow's to the bit: the exact DCT and the triangle filter for chroma,
    which are not this binding's defaults.
    """
    size = info.stored_size
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except Exception:
        # It does not know every chroma sampling that libjpeg can decode, and says so with
        # whatever exception its table lookup raises.
        return pillow.decode_rgb(_without_metadata(data), "JPEG", size), True
    if (width, height) != size:
        raise corrupt()
    target = scaled_size(size, min_size)
    inverted_cmyk = space in ("CMYK", "YCCK")
    colorspace = "CMYK" if inverted_cmyk else "RGB"
    try:
        pixels, warned = _decode(data, target, colorspace, strict=True), False
    except ValueError as error:
        if not any(warning in str(error) for warning in _HARMLESS):
            raise corrupt() from error
        _check_what_a_warning_hides(data)
        pixels, warned = _decode(data, target, colorspace, strict=False), True
    return (_from_cmyk(pixels) if inverted_cmyk else pixels), warned


def scaled_size(size: tuple[int, int], min_size: tuple[int, int] | None) -> tuple[int, int]:
    """The smallest size that libjpeg can decode to fast, at least `min_size` on both sides.

    Eighths that are not powers of two have no vector code: 5/8 to 7/8 cost up to twice a full
    decode (docs/decisions/renditions.md).
    """
    for eighths in (1, 2, 4):
        scaled = (-(-size[0] * eighths // 8), -(-size[1] * eighths // 8))
        if min_size is not None and scaled[0] >= min_size[0] and scaled[1] >= min_size[1]:
            return scaled
    return size


def _decode(
    data: bytes, size: tuple[int, int], colorspace: str, *, strict: bool
) -> NDArray[np.uint8]:
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data,
            colorspace,
            fastdct=False,
            fastupsample=False,
            min_width=size[0],
            min_height=size[1],
            strict=strict,
        )
    except MemoryError as error:
        raise errors.Overloaded("not enough memory to decode the image") from error
    if pixels.shape[:2] != (size[1], size[0]):
        raise corrupt()
    return pixels


def _check_what_a_warning_hides(data: bytes) -> None:
    """A strict decoder stops at its first warning; a lenient one never says what comes after."""
    header = read_header(data)
    _check_scans(data, header)
    if data.rfind(b"\xff\xd9") < header.scan:
        raise corrupt()


def _from_cmyk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of CMYK as Adobe writes it into JPEG, inverted; no colour profile is applied."""
    return np.asarray(Image.fromarray(255 - pixels, "CMYK").convert("RGB"))


def _without_metadata(data: bytes) -> bytes:
    """The same image without APP and COM segments, but for those of JFIF and Adobe."""
    header = read_header(data)
    kept = [
        data[start:end]
        for marker, start, end in header.segments
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE)
    ]
    return b"\xff\xd8" + b"".join(kept) + data[header.scan :]
