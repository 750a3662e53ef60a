"""One entry of the audit log, its id, and its bytes in the spool."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from visionmesh.moderation.v1.moderation_pb2 import Verdict

ID_DIGITS: Final = 24
"""Of an entry's id: 14 hexadecimal digits of Unix time in microseconds, 10 of the process."""

TIME_DIGITS: Final = 14

_MAGIC: Final = b"\xa5VA1"
_HEADER: Final = struct.Struct("<4sII")
_MAX_PAYLOAD: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class Entry:
    """A verdict as it was given, without the image's text. `verdict` is its message, encoded."""

    id: str
    tenant: str
    digest: str
    trace_id: str
    verdict: bytes

    @property
    def recorded_at(self) -> datetime:
        return moment(self.id)

    @property
    def message(self) -> Verdict:
        return Verdict.FromString(self.verdict)


class Ids:
    """Ids that sort as they were made; those of two processes never meet, and sort by time."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` gives Unix time in nanoseconds; when it goes back, ids go on from the last."""
        self._clock = clock
        self._last = 0
        self._process = os.urandom(5).hex()

    def next(self) -> str:
        self._last = max(self._last + 1, self._clock() // 1000)
        return f"{self._last:014x}{self._process}"


def without_text(verdict: Verdict) -> Verdict:
    """A verdict as it is recorded: where its evidence was seen and what it is, but not the words.

    Text out of an image can be somebody's address. The log outlives the image; a replay reads the
    words again for as long as the image is stored.
    """
    if not any(item.text for reason in verdict.reasons for item in reason.evidence):
        return verdict
    recorded = Verdict()
    recorded.CopyFrom(verdict)
    for reason in recorded.reasons:
        for item in reason.evidence:
            item.ClearField("text")
    return recorded


def moment(entry_id: str) -> datetime:
    """When the entry with an id was recorded."""
    micros = int(entry_id[:TIME_DIGITS], 16)
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def first_id(at: datetime) -> str:
    """What every id of a moment and later is at least; `at` knows its time zone."""
    micros = int(at.timestamp()) * 1_000_000 + at.microsecond
    return f"{max(0, micros):014x}"


def frame(entry: Entry) -> bytes:
    """An entry as a spool has it: magic, length, CRC-32, then its parts, the verdict last."""
    parts = (entry.tenant, entry.id, entry.digest, entry.trace_id)
    payload = "\n".join(parts).encode() + b"\n" + entry.verdict
    return _HEADER.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload


def entries(data: bytes) -> Iterator[Entry | int]:
    """The entries of a spool in order; where something is no entry, how many bytes it was."""
    at = unreadable = 0
    while at < len(data):
        payload = _payload(data, at)
        entry = None if payload is None else _entry(payload)
        if payload is None or entry is None:
            # What was torn or overwritten says nothing about what comes after it.
            found = data.find(_MAGIC, at + 1)
            end = len(data) if found < 0 else found
            unreadable += end - at
            at = end
            continue
        if unreadable:
            yield unreadable
            unreadable = 0
        yield entry
        at += _HEADER.size + len(payload)
    if unreadable:
        yield unreadable


def _entry(payload: bytes) -> Entry | None:
    """The entry of a valid frame; None when somebody framed something else."""
    try:
        *texts, verdict = payload.split(b"\n", 4)
        tenant, entry_id, digest, trace_id = (text.decode() for text in texts)
    except ValueError:
        return None
    return Entry(entry_id, tenant, digest, trace_id, verdict)


def _payload(data: bytes, at: int) -> bytes | None:
    """What the frame at an offset holds; None when there is no whole and valid frame."""
    if len(data) - at < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(data, at)
    if magic != _MAGIC or length > _MAX_PAYLOAD:
        return None
    payload = data[at + _HEADER.size : at + _HEADER.size + length]
    if len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    return payload
