"""TensorFlow.js graph models to ONNX: image networks of convolutions, and no more than they need.

Inside everything is NCHW, ONNX's order, where TensorFlow's is NHWC. What is not known here stops
the conversion; nothing is guessed. The same input gives the same bytes on every machine: nothing of
a clock, a path or a library's version enters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.conversion.tfjs import Graph, Node
from services.errors import ModelFileError

OPSET: Final = 18
IR_VERSION: Final = 8
"""Of the year of that operator set: nothing younger is needed."""

_SAME: Final = "SAME"


def to_onnx(
    graph: Graph, *, input_name: str, height: int, width: int, outputs: Sequence[str]
) -> bytes:
    """An ONNX file that computes `outputs` of a graph.

    Its one input keeps its name and is uint8 [N, height, width, 3], RGB; its outputs keep the last
    part of theirs and are float32 [N, C, H, W]. Raises ModelFileError naming what is not known.
    """
    return _Writer(graph, input_name, height, width).write(tuple(outputs))


class _Writer:
    """Collects ONNX nodes and weights in the order in which they are met."""

    def __init__(self, graph: Graph, input_name: str, height: int, width: int) -> None:
        self._graph = graph
        self._input = input_name
        self._size = (height, width)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}

    def write(self, outputs: tuple[str, ...]) -> bytes:
        image = _last(self._input)
        # What has a name outside of the graph is met here alone: inside all have a prefix.
        self._node("Cast", [image], "float", to=TensorProto.FLOAT)
        self._node("Transpose", ["float"], _inner(self._input), perm=[0, 3, 1, 2])
        for node in self._graph.towards(outputs):
            write = _OPERATIONS.get(node.op)
            if write is None:
                raise ModelFileError(f"node {node.name!r} is a {node.op}, which is not known here")
            write(self, node)
        for output in outputs:
            self._node("Identity", [_inner(output)], _last(output))
        graph = helper.make_graph(
            self._nodes,
            "graph",
            [helper.make_tensor_value_info(image, TensorProto.UINT8, ["N", *self._size, 3])],
            [
                helper.make_tensor_value_info(
                    _last(output), TensorProto.FLOAT, ["N", None, None, None]
                )
                for output in outputs
            ],
            list(self._weights.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name = "visionmesh"
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def convolution(self, node: Node) -> None:
        """Conv2D and _FusedConv2D: weights [H, W, in, out]."""
        self._convolution(node, self._constant(node, 1).transpose(3, 2, 0, 1), 1)

    def depthwise(self, node: Node) -> None:
        """DepthwiseConv2dNative and its fused form: weights [H, W, in, times]."""
        weights = self._constant(node, 1)
        height, width, channels, times = weights.shape
        weights = weights.transpose(2, 3, 0, 1).reshape(channels * times, 1, height, width)
        self._convolution(node, weights, channels)

    def _convolution(self, node: Node, weights: NDArray[Any], groups: int) -> None:
        if set(node.numbers("dilations")) != {1} or node.text("data_format") != "NHWC":
            raise ModelFileError(f"node {node.name!r} is dilated or not NHWC")
        padding = node.text("padding")
        if padding not in (_SAME, "VALID"):
            raise ModelFileError(f"node {node.name!r} is padded {padding!r}")
        inputs = [node.inputs[0], self._weight(f"{node.name}/weights", weights)]
        fused = node.texts("fused_ops")
        if fused[:1] == ["BiasAdd"]:
            inputs.append(self._weight(f"{node.name}/bias", self._constant(node, 2)))
        after = fused[1:]
        if fused and (fused[0] != "BiasAdd" or after not in ([], ["Relu"], ["Relu6"])):
            raise ModelFileError(f"node {node.name!r} is fused with {fused}")
        self._add(
            "Conv",
            inputs,
            f"{node.name}/linear" if after else node.name,
            auto_pad="SAME_UPPER" if padding == _SAME else "VALID",
            group=groups,
            kernel_shape=weights.shape[2:],
            strides=node.numbers("strides")[1:3],
        )
        if after:
            self._activation(after[0], f"{node.name}/linear", node.name)

    def arithmetic(self, node: Node) -> None:
        """Add, AddV2 and Mul of two tensors, or of a tensor and a constant."""
        inputs = [
            self._weight(name, _broadcast(node, self._graph.constants[name]))
            if name in self._graph.constants
            else name
            for name in node.inputs
        ]
        self._add("Mul" if node.op == "Mul" else "Add", inputs, node.name)

    def activation(self, node: Node) -> None:
        self._activation(node.op, node.inputs[0], node.name)

    def _activation(self, op: str, source: str, name: str) -> None:
        if op == "Relu6":
            bounds = [
                self._weight(f"constant/{bound}", np.array(bound, np.float32)) for bound in (0, 6)
            ]
            self._add("Clip", [source, *bounds], name)
        else:
            self._add(op, [source], name)

    def mean(self, node: Node) -> None:
        """Mean over height and width, which stay as 1."""
        axes = sorted(self._constant(node, 1).tolist())
        if axes != [1, 2] or not node.flag("keep_dims"):
            raise ModelFileError(f"node {node.name!r} is a mean over {axes}")
        self._add("GlobalAveragePool", [node.inputs[0]], node.name)

    def concat(self, node: Node) -> None:
        """ConcatV2 along the channels."""
        axis = self._constant(node, -1).ravel().tolist()
        if axis not in ([3], [-1]):
            raise ModelFileError(f"node {node.name!r} concatenates along {axis}")
        self._add("Concat", node.inputs[:-1], node.name, axis=1)

    def resize(self, node: Node) -> None:
        """ResizeBilinear to a constant height and width, by TensorFlow's old rule for pixels."""
        if node.flag("align_corners") or node.flag("half_pixel_centers"):
            raise ModelFileError(f"node {node.name!r} aligns its corners or centres")
        sizes = self._weight(f"{node.name}/size", self._constant(node, 1).astype(np.int64))
        self._add(
            "Resize",
            [node.inputs[0], "", "", sizes],
            node.name,
            axes=[2, 3],
            mode="linear",
            coordinate_transformation_mode="asymmetric",
        )

    def _constant(self, node: Node, index: int) -> NDArray[Any]:
        name = node.inputs[index]
        if name not in self._graph.constants:
            raise ModelFileError(f"node {node.name!r} needs {name!r} to be a constant")
        return self._graph.constants[name]

    def _weight(self, name: str, array: NDArray[Any]) -> str:
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), _inner(name))
        return name

    def _add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._node(op, [_inner(name) for name in inputs], _inner(output), **attributes)

    def _node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))


def _broadcast(node: Node, array: NDArray[Any]) -> NDArray[Any]:
    """A constant that stands beside an NHWC tensor, as it stands beside an NCHW one."""
    if array.ndim == 0:
        return array
    if array.ndim == 1:
        return array.reshape(-1, 1, 1)
    if array.ndim == 4:
        return array.transpose(0, 3, 1, 2)
    raise ModelFileError(f"node {node.name!r} has a constant of {array.ndim} dimensions")


def _inner(name: str) -> str:
    """A tensor's name inside the graph; an input that is left out has none."""
    return name and f"graph/{name}"


def _last(name: str) -> str:
    return name.rpartition("/")[2]


_OPERATIONS: Final[dict[str, Callable[[_Writer, Node], None]]] = {
    "Conv2D": _Writer.convolution,
    "_FusedConv2D": _Writer.convolution,
    "DepthwiseConv2dNative": _Writer.depthwise,
    "FusedDepthwiseConv2dNative": _Writer.depthwise,
    "Add": _Writer.arithmetic,
    "AddV2": _Writer.arithmetic,
    "Mul": _Writer.arithmetic,
    "Relu": _Writer.activation,
    "Relu6": _Writer.activation,
    "Sigmoid": _Writer.activation,
    "Identity": _Writer.activation,
    "Mean": _Writer.mean,
    "ConcatV2": _Writer.concat,
    "ResizeBilinear": _Writer.resize,
}
