"""Where an AVIF's AV1 data lies: `iloc` of its items, `stbl` of its tracks. ISO/IEC 14496-12."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.media.info import corrupt, too_intricate

MAX_EXTENTS: Final = 65_536
"""Items and extents of one file."""


class _Reader:
    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._at, self._end = data, start, end

    def read(self, size: int) -> int:
        if self._at + size > self._end:
            raise corrupt()
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at])


def item_samples(
    data: bytes, iloc: tuple[int, int], idat: tuple[int, int] | None, wanted: set[int]
) -> Iterator[tuple[int, memoryview]]:
    """The id and the bytes of each item that is wanted. Raises CorruptImage."""
    box = _Reader(data, *iloc)
    version = box.read(4) >> 24
    sizes = box.read(2)
    offset_size, length_size, base_size, index_size = (sizes >> at & 15 for at in (12, 8, 4, 0))
    joined = seen = 0
    for _ in range(box.read(2 if version < 2 else 4)):
        item = box.read(2 if version < 2 else 4)
        method = box.read(2) & 15 if version else 0
        box.read(2)
        base = box.read(base_size)
        parts: list[memoryview] = []
        count = box.read(2)
        seen += 1 + count
        if seen > MAX_EXTENTS:
            raise too_intricate("extents", MAX_EXTENTS)
        for _ in range(count):
            if version:
                box.read(index_size)
            offset, length = base + box.read(offset_size), box.read(length_size)
            if item in wanted:
                parts.append(_part(data, method, idat, offset, length))
        if item not in wanted:
            continue
        if len(parts) == 1:
            yield item, parts[0]
            continue
        joined += sum(map(len, parts))
        if joined > len(data):
            raise corrupt()
        yield item, memoryview(b"".join(parts))


def _part(
    data: bytes, method: int, idat: tuple[int, int] | None, offset: int, length: int
) -> memoryview:
    whole = (0, len(data)) if method == 0 else idat if method == 1 else None
    if whole is None:
        raise corrupt()
    start = whole[0] + offset
    end = start + length if length else whole[1]
    if end > whole[1] or start > end:
        raise corrupt()
    return memoryview(data)[start:end]


def first_sample(data: bytes, tables: dict[bytes, tuple[int, int]]) -> memoryview | None:
    """The first sample of a track by its sample tables, or None when it is not AV1."""
    try:
        description = tables[b"stsd"]
        offsets = b"co64" if b"co64" in tables else b"stco"
        chunks, sizes = _Reader(data, *tables[offsets]), _Reader(data, *tables[b"stsz"])
    except KeyError as error:
        raise corrupt() from error
    if data[description[0] + 12 : description[0] + 16] != b"av01":
        return None
    chunks.read(8)
    sizes.read(4)
    size = sizes.read(4)
    count = sizes.read(4)
    start = chunks.read(8 if offsets == b"co64" else 4)
    end = start + (size or (sizes.read(4) if count else 0))
    if end > len(data):
        raise corrupt()
    return memoryview(data)[start:end]
