"""How a result looks wherever it is stored: it says of itself whether it is one.

    magic and version (4 bytes) | kind (1) | CRC-32 of key, kind and payload (4) | payload

The key is part of the sum: a result that turns up under another name is not that name's. Garbage
of any tier is found at the tier and counts as absent. The sum finds accidents, not forgeries:
whoever may write to a tier is trusted, as whoever may write to the object store is.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final
from zlib import crc32

import orjson

from services import errors
from services.errors import VisionmeshError
from services.results.keys import ResultKey

MAGIC: Final = b"VMr\x01"
"""Ends in the layout's version: another layout is absent here, and made again."""

_RESULT: Final = 0
_NEGATIVE: Final = 1
_HEAD: Final = Struct(">4sBI")

Value = bytes | VisionmeshError
"""What is known of an image: a result as its model encoded it, or why there can be none."""


def wrap(key: ResultKey, value: Value) -> bytes:
    """A value in the form in which every tier keeps it."""
    if isinstance(value, bytes):
        kind, payload = _RESULT, value
    else:
        kind, payload = _NEGATIVE, _encode_error(value)
    return _HEAD.pack(MAGIC, kind, _sum(key, kind, payload)) + payload


def unwrap(key: ResultKey, data: bytes) -> Value:
    """The value of a stored form. Raises ValueError when it is none, or that of another key."""
    if len(data) < _HEAD.size:
        raise ValueError("a stored result is cut short")
    magic, kind, checksum = _HEAD.unpack_from(data)
    payload = data[_HEAD.size :]
    if magic != MAGIC or checksum != _sum(key, kind, payload):
        raise ValueError("a stored result is not what was stored")
    if kind == _RESULT:
        return payload
    if kind == _NEGATIVE:
        return _decode_error(payload)
    raise ValueError("a stored result of an unknown kind")


def fresh(value: Value) -> Value:
    """The value, an error as a new object: one that is raised collects where it has been."""
    if isinstance(value, bytes):
        return value
    return type(value)(value.message, field=value.field, limit=value.limit)


def _sum(key: ResultKey, kind: int, payload: bytes) -> int:
    name = f"{key.digest}/{key.model}/{key.version}/{kind}/"
    return crc32(payload, crc32(name.encode()))


def _encode_error(error: VisionmeshError) -> bytes:
    return orjson.dumps(
        {"code": error.code, "message": error.message, "field": error.field, "limit": error.limit}
    )


def _decode_error(payload: bytes) -> VisionmeshError:
    try:
        fields: dict[str, Any] = orjson.loads(payload)
        kind = errors.BY_CODE[fields["code"]]
        return kind(str(fields["message"]), field=fields["field"], limit=fields["limit"])
    except (KeyError, TypeError) as error:
        raise ValueError("a stored error is none") from error
