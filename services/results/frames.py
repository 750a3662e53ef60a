"""Many results in one file that is only ever appended to.

    mark (4 bytes) | length of the name (1) | length of the envelope (4) | name | envelope

The name is `<model>.<version>`. One append is one record, so a reader sees whole records, but for
what a full disk or a crash cut off: behind such a wound reading goes on at the next mark. Bytes
that only look like a record are found by the envelope's sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from services.results.keys import ResultKey

MARK: Final = b"\xffVMf"
"""No text begins with it: 0xff is no UTF-8."""

_HEAD: Final = Struct(">4sBI")


def frame(key: ResultKey, envelope: bytes) -> bytes:
    """One record, to be appended in one piece."""
    name = _name(key)
    return _HEAD.pack(MARK, len(name), len(envelope)) + name + envelope


def envelopes(key: ResultKey, data: bytes) -> Iterator[bytes]:
    """What is recorded under a key, the oldest first.

    Looked for at every mark: a record that was cut off may seem to reach over those behind it.
    """
    wanted = _name(key)
    at = data.find(MARK)
    while 0 <= at <= len(data) - _HEAD.size:
        _, name_length, length = _HEAD.unpack_from(data, at)
        name_at = at + _HEAD.size
        envelope_at = name_at + name_length
        end = envelope_at + length
        if end <= len(data) and data[name_at:envelope_at] == wanted:
            yield data[envelope_at:end]
        at = data.find(MARK, at + 1)


def _name(key: ResultKey) -> bytes:
    return f"{key.model}.{key.version}".encode()
