"""The size that AV1 data is decoded at: its sequence headers'. AV1 specification, 5.3 to 5.5."""

from __future__ import annotations

from typing import Final

from services.limits import MAX_IMAGE_PIXELS
from services.media.info import check_pixels, corrupt, too_intricate

MAX_OBUS: Final = 65_536
"""Open bitstream units of one sample."""

_SEQUENCE_HEADER: Final = 1


def coded_size(sample: memoryview) -> tuple[int, int]:
    """Width and height in pixels of what one sample decodes to.

    Raises TooManyPixels, and CorruptImage when no sequence header can be read or two disagree.
    """
    sizes: set[tuple[int, int]] = set()
    position = seen = 0
    while position < len(sample):
        seen += 1
        if seen > MAX_OBUS:
            raise too_intricate("AV1 units", MAX_OBUS)
        header = sample[position]
        position += 2 if header & 4 else 1
        length, position = _leb128(sample, position) if header & 2 else (len(sample), position)
        end = min(position + length, len(sample))
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            sizes.add(_sequence_size(_Bits(sample[position:end])))
        position = end
    if len(sizes) != 1:
        raise corrupt()
    return sizes.pop()


class _Bits:
    """Bits of the first bytes of a unit, most significant first."""

    def __init__(self, data: memoryview) -> None:
        # The size stands before this, whatever precedes it: 32 operating points of up to 88 bits.
        head = bytes(data[:512])
        self._value = int.from_bytes(head)
        self._left = 8 * len(head)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise corrupt()
        return self._value >> self._left & ((1 << count) - 1)


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    bits.read(4)  # profile, still picture
    reduced = bits.read(1)
    if reduced:
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    check_pixels(width, height)
    # A frame may give its own size in as many bits: no more of them than the largest needs.
    if not reduced and 1 << width_bits + height_bits > max(MAX_IMAGE_PIXELS, 4 * width * height):
        raise corrupt()
    return width, height


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):
            _skip_uvlc(bits)
        if bits.read(1):  # decoder model
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while not bits.read(1):
        zeros += 1
    if zeros < 32:
        bits.read(zeros)


def _leb128(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        if position + i >= len(data):
            break
        value |= (data[position + i] & 0x7F) << 7 * i
        if data[position + i] < 0x80:
            return value, position + i + 1
    raise corrupt()
