"""TensorFlow.js graph models: reading them.

A graph model is a JSON file, which holds the nodes and says what the weights are, and binary files
of weights beside it
(https://github.com/tensorflow/tfjs/blob/master/tfjs-converter/docs/format.md is its description in
words, `tensorflow/core/framework/graph.proto` that of the nodes).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.errors import ModelFileError

_DTYPES: Final = {"float16": "<f2", "float32": "<f4", "int32": "<i4"}
"""How weights lie in the file."""

_WIDENED: Final = {"float16": np.float32, "float32": np.float32, "int32": np.int32}
"""What they are computed in: every fp16 number is an fp32 number."""


@dataclass(frozen=True)
class Node:
    """One operation; `inputs` are names of nodes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def text(self, key: str) -> str:
        """An attribute that is a text; empty when it is not there."""
        return _text(self.attributes.get(key, {}).get("s", ""))

    def texts(self, key: str) -> list[str]:
        """An attribute that is a list of texts."""
        return [_text(text) for text in self.attributes.get(key, {}).get("list", {}).get("s", [])]

    def numbers(self, key: str) -> list[int]:
        """An attribute that is a list of whole numbers."""
        return [int(number) for number in self.attributes[key]["list"]["i"]]

    def flag(self, key: str) -> bool:
        """An attribute that is true or false; false when it is not there."""
        return bool(self.attributes.get(key, {}).get("b", False))


@dataclass(frozen=True)
class Graph:
    """The nodes by name, and the values of those that are constants."""

    nodes: Mapping[str, Node]
    constants: Mapping[str, NDArray[Any]]

    def towards(self, outputs: tuple[str, ...]) -> Iterator[Node]:
        """The operations that `outputs` need, each after those that it needs.

        Constants and placeholders are none. Raises ModelFileError for a node that is not there.
        """
        given: set[str] = set(self.constants)
        waiting = list(reversed(outputs))
        while waiting:
            name = waiting[-1]
            node = self.nodes.get(name)
            if node is None:
                raise ModelFileError(f"the graph has no node {name!r}")
            missing = [needed for needed in node.inputs if needed not in given]
            if name not in given and missing:
                waiting.extend(reversed(missing))
                continue
            waiting.pop()
            if name not in given:
                given.add(name)
                if node.op != "Placeholder":
                    yield node


def weight_files(model: bytes) -> tuple[str, ...]:
    """The names of the files that hold a model's weights, relative to its own."""
    return tuple(path for group in _document(model)["weightsManifest"] for path in group["paths"])


def read(model: bytes, weights: bytes) -> Graph:
    """A model's graph; `weights` are its weight files one after the other.

    Raises ModelFileError when the weights are not those that the model describes.
    """
    document = _document(model)
    nodes = {}
    for node in document["modelTopology"]["node"]:
        inputs = tuple(name.removesuffix(":0") for name in node.get("input", ()) if name[0] != "^")
        nodes[node["name"]] = Node(node["name"], node["op"], inputs, node.get("attr", {}))
    constants, offset = {}, 0
    for group in document["weightsManifest"]:
        for entry in group["weights"]:
            name, shape = entry["name"], entry["shape"]
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if stored not in _DTYPES:
                raise ModelFileError(f"weight {name!r} is {stored}, which cannot be read here")
            dtype = np.dtype(_DTYPES[stored])
            count = int(np.prod(shape, dtype=np.int64))
            if len(weights) < offset + count * dtype.itemsize:
                raise ModelFileError(f"weight {name!r} is beyond the end of the file")
            array = np.frombuffer(weights, dtype, count, offset).reshape(shape)
            constants[name] = array.astype(_WIDENED[stored])
            offset += count * dtype.itemsize
    if offset != len(weights):
        raise ModelFileError(f"{len(weights) - offset} bytes of weights belong to nothing")
    return Graph(nodes, constants)


def _document(model: bytes) -> dict[str, Any]:
    try:
        document = json.loads(model)
        document["modelTopology"]["node"], document["weightsManifest"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError("not a TensorFlow.js graph model") from error
    found: dict[str, Any] = document
    return found


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
