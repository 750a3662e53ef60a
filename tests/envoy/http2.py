"""Just enough HTTP/2 to be a client with bad manners (RFC 9113, RFC 7541 without compression)."""

from __future__ import annotations

from collections.abc import Mapping

HEADERS, SETTINGS, DATA = 1, 4, 0
END_STREAM, END_HEADERS = 1, 4


def greeting() -> bytes:
    """The connection preface, with empty settings."""
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, b"")


def call_frames(path: str, metadata: Mapping[str, str]) -> bytes:
    """A gRPC call with an empty message on the first stream."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        **metadata,
    }
    block = b"".join(_literal(name, value) for name, value in headers.items())
    return _frame(HEADERS, END_HEADERS, 1, block) + _frame(DATA, END_STREAM, 1, bytes(5))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _literal(name: str, value: str) -> bytes:
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
