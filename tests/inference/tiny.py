"""ONNX files of one operator, written by hand: what engines are tested on.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

FLOAT = 1


def one_operator(op: str, inputs: dict[str, Sequence[int | str]], output: str) -> bytes:
    """A float32 model that applies `op`; a size that is a name is free."""
    node = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, op)
    graph = _part(1, node) + _text(2, "tiny")
    graph += b"".join(_part(11, _value(name, shape)) for name, shape in inputs.items())
    graph += _part(12, _text(1, output) + _part(2, _part(1, _number(1, FLOAT))))
    return _number(1, 8) + _part(7, graph) + _part(8, _number(2, 13))


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = (_number(1, size) if isinstance(size, int) else _text(2, size) for size in shape)
    dims = b"".join(_part(1, size) for size in sizes)
    return _text(1, name) + _part(2, _part(1, _number(1, FLOAT) + _part(2, dims)))


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())
