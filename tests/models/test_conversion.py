"""TensorFlow.js graph models to ONNX, on graphs of a few nodes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from models import conversion, registry
from models.conversion import onnx_graph, tfjs
from models.entry import Conversion, ModelFile
from services.errors import ModelFileError

IMAGE = {"name": "images", "op": "Placeholder"}


def text(value: str) -> dict[str, Any]:
    return {"s": base64.b64encode(value.encode()).decode()}


def convolution(op: str, *inputs: str, padding: str = "SAME", stride: int = 1, **more: Any) -> Any:
    """A convolution named `out`."""
    attributes = {
        "padding": text(padding),
        "data_format": text("NHWC"),
        "dilations": {"list": {"i": ["1"] * 4}},
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        **more,
    }
    return {"name": "out", "op": op, "input": list(inputs), "attr": attributes}


def fused(*names: str) -> dict[str, Any]:
    return {"fused_ops": {"list": {"s": [text(name)["s"] for name in names]}}}


def published(*nodes: Any, **constants: NDArray[Any]) -> tuple[bytes, bytes]:
    """A model as it is published: the JSON file and the weights, fp32 kept as fp16."""
    entries, weights = [], b""
    for name, array in constants.items():
        stored = array.astype("<f2" if array.dtype.kind == "f" else "<i4")
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": "int32"}
        if array.dtype.kind == "f":
            entry |= {"dtype": "float32", "quantization": {"dtype": "float16"}}
        entries.append(entry)
        weights += stored.tobytes()
    nodes = (IMAGE, *({"name": name, "op": "Const"} for name in constants), *nodes)
    document = {
        "modelTopology": {"node": list(nodes)},
        "weightsManifest": [{"paths": ["weights.bin"], "weights": entries}],
    }
    return json.dumps(document).encode(), weights


def convert(model: bytes, weights: bytes, side: int = 6) -> bytes:
    return onnx_graph.to_onnx(
        tfjs.read(model, weights), input_name="images", height=side, width=side, outputs=["out"]
    )


IMAGE_PIXELS = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)


def run(*nodes: Any, **constants: NDArray[Any]) -> NDArray[Any]:
    """The output for IMAGE_PIXELS, in TensorFlow's order [row, column, channel]."""
    session = onnxruntime.InferenceSession(convert(*published(*nodes, **constants)))
    (output,) = session.run(None, {"images": IMAGE_PIXELS})
    found: NDArray[Any] = output[0].transpose(1, 2, 0)
    return found


def slowly(
    image: NDArray[Any], weights: NDArray[Any], stride: int, depthwise: bool, valid: bool
) -> NDArray[Any]:
    """A convolution by TensorFlow's definition, padded at the end where the padding is odd."""
    height, width, channels, last = weights.shape
    side = image.shape[0]
    rows = -(-(side - height + 1) // stride) if valid else -(-side // stride)
    pad = 0 if valid else max(0, (rows - 1) * stride + height - side)
    padded = np.zeros((side + pad, side + pad, channels))
    padded[pad // 2 : pad // 2 + side, pad // 2 : pad // 2 + side] = image
    out = np.zeros((rows, rows, channels * last if depthwise else last))
    for y in range(rows):
        for x in range(rows):
            patch = padded[y * stride : y * stride + height, x * stride : x * stride + width]
            if depthwise:
                out[y, x] = np.einsum("hwc,hwcm->cm", patch, weights).ravel()
            else:
                out[y, x] = np.einsum("hwc,hwco->o", patch, weights)
    return out


def numbers(*shape: int) -> NDArray[np.float32]:
    """Numbers that fp16 holds exactly."""
    eighths = np.arange(np.prod(shape)) % 13 - 6
    return (eighths / 8).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("depthwise", [True, False], ids=["depthwise", "full"])
def test_convolutions(stride: int, padding: str, depthwise: bool):
    """A convolution, padded and strided, gives what its definition gives."""
    weights = numbers(3, 3, 3, 2)
    op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    node = convolution(op, "images", "w", padding=padding, stride=stride)
    expected = slowly(IMAGE_PIXELS[0], weights, stride, depthwise, padding == "VALID")
    np.testing.assert_allclose(run(node, w=weights), expected, rtol=1e-5)


@pytest.mark.parametrize("after", [[], ["Relu"], ["Relu6"]], ids=str)
def test_fused_convolutions(after: list[str]):
    """A bias and an activation that are fused with a convolution are applied after it."""
    weights, bias = numbers(1, 1, 3, 4), numbers(4)
    node = convolution("_FusedConv2D", "images", "w", "b", **fused("BiasAdd", *after))
    expected = slowly(IMAGE_PIXELS[0], weights, 1, False, True) + bias
    expected = np.clip(expected, 0 if after else None, 6 if after == ["Relu6"] else None)
    np.testing.assert_allclose(run(node, w=weights, b=bias), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (3,), (1, 6, 6, 3)], ids=str)
@pytest.mark.parametrize("op", ["Add", "AddV2", "Mul"])
def test_constants_are_broadcast_as_in_tensorflow(op: str, shape: tuple[int, ...]):
    """A constant beside an image goes over the channels, not over rows."""
    constant = numbers(*shape)
    found = run({"name": "out", "op": op, "input": ["c", "images"]}, c=constant)
    image = IMAGE_PIXELS[0].astype(np.float32)
    expected = image * constant if op == "Mul" else image + constant
    np.testing.assert_allclose(found, expected.reshape(6, 6, 3), rtol=1e-6)


def test_means_concatenation_and_resizing():
    """Means, concatenation along channels and TensorFlow's old resizing, one after the other."""
    nodes = [
        {
            "name": "mean",
            "op": "Mean",
            "input": ["images", "axes"],
            "attr": {"keep_dims": {"b": True}},
        },
        {"name": "scaled", "op": "Mul", "input": ["images", "mean"]},
        {"name": "both", "op": "ConcatV2", "input": ["scaled", "images", "axis"]},
        {"name": "out", "op": "ResizeBilinear", "input": ["both", "size"]},
    ]
    axes, axis = np.array([1, 2], np.int32), np.array(3, np.int32)
    found = run(*nodes, axes=axes, axis=axis, size=np.array([12, 12], np.int32))
    image = IMAGE_PIXELS[0].astype(np.float32)
    both = np.concatenate([image * image.mean((0, 1)), image], axis=2)
    # Twice the size with asymmetric coordinates: the pixel itself, then halfway to the next.
    for axis_ in (0, 1):
        after = np.concatenate(
            [np.take(both, range(1, 6), axis_), np.take(both, [5], axis_)], axis_
        )
        pairs = np.stack([both, (both + after) / 2], axis_ + 1)
        shape = [*both.shape]
        shape[axis_] *= 2
        both = pairs.reshape(shape)
    np.testing.assert_allclose(found, both, rtol=1e-5)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "out", "op": "Softmax", "input": ["images"]}, "'out' is a Softmax"),
        ({"name": "out", "op": "Relu", "input": ["nothing"]}, "no node 'nothing'"),
        ({"name": "other", "op": "Relu", "input": ["images"]}, "no node 'out'"),
        (convolution("Conv2D", "images", "images"), "needs 'images' to be a constant"),
        (convolution("Conv2D", "images", "w", padding="EXPLICIT"), "padded 'EXPLICIT'"),
        (convolution("_FusedConv2D", "images", "w", "w", **fused("BiasAdd", "Elu")), "Elu"),
        (convolution("Conv2D", "images", "w", data_format=text("NCHW")), "not NHWC"),
        ({"name": "out", "op": "Mean", "input": ["images", "axis"]}, "a mean over"),
        ({"name": "out", "op": "ConcatV2", "input": ["images", "axis"]}, "concatenates along"),
        (
            {"name": "out", "op": "ResizeBilinear", "input": ["images", "axis"],
             "attr": {"half_pixel_centers": {"b": True}}},
            "aligns",
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_stops_the_conversion(node: Any, words: str):
    """An operation or an attribute that the converter does not know is an error that names it."""
    with pytest.raises(ModelFileError, match=words):
        convert(*published(node, w=numbers(1, 1, 3, 3), axis=np.array([0], np.int32)))


@pytest.mark.parametrize(
    ("cut", "words"), [(-1, "beyond the end"), (2, "2 bytes of weights belong to nothing")]
)
def test_weights_of_another_length_are_refused(cut: int, words: str):
    """Weights that are shorter or longer than described are an error."""
    model, weights = published(convolution("Conv2D", "images", "w"), w=numbers(1, 1, 3, 1))
    with pytest.raises(ModelFileError, match=words):
        convert(model, weights[:cut] if cut < 0 else weights + bytes(cut))


@pytest.mark.parametrize("model", [b"", b"{}", b"[]", b"not json", b'{"modelTopology": {}}'])
def test_file_that_is_no_graph_model(model: bytes):
    """A file that holds no graph is an error, not a traceback."""
    with pytest.raises(ModelFileError, match="not a TensorFlow"):
        tfjs.read(model, b"")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one small model."""
    model, weights = published(convolution("Conv2D", "images", "w"), w=numbers(1, 1, 3, 1))
    archive = tmp_path / "package.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in (("model.json", model), ("weights.bin", weights)):
            member = tarfile.TarInfo(f"package/m/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive


def entry_of(archive: Path, made: bytes, **changed: object) -> ModelFile:
    fields: dict[str, object] = {
        "name": "small",
        "description": "A small model",
        "member": "package/m/model.json",
        "sha256": hashlib.sha256(made).hexdigest(),
        "size": len(made),
        "precision": "fp32",
        "license": "CC0-1.0",
        "card": "cards/nsfw.md",
        "tarball": {
            "package": "package",
            "version": "1.0",
            "filename": archive.name,
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        },
        "conversion": {
            "converter": "tfjs",
            "sha256": conversion.fingerprint(),
            "input": "images",
            "height": 6,
            "width": 6,
            "outputs": ["out"],
        },
    }
    return ModelFile.model_validate(fields | changed)


def download(package: Path) -> registry.Download:
    return lambda _, folder: package.rename(folder / package.name)


@pytest.fixture
def made(package: Path) -> bytes:
    recipe = entry_of(package, b"-").conversion
    assert recipe is not None
    return conversion.convert(package, "package/m/model.json", recipe)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONMESH_MODELS_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_fetch_converts_what_is_published(package: Path, made: bytes, cache: Path):
    """A file that is registered with a conversion is made of its package, to the registered one."""
    entry = entry_of(package, made)
    registry.fetch([entry], download=download(package))
    assert [path.name for path in cache.iterdir()] == [f"small-{entry.sha256[:12]}.onnx"]
    assert registry.verify(entry).ok


def test_conversion_that_makes_another_file_is_refused(package: Path, made: bytes, cache: Path):
    """What is converted to other bytes than registered stops, and is not kept."""
    entry = entry_of(package, made[:-1] + b"\0")
    with pytest.raises(ModelFileError, match=r"converted from package\.tgz has the SHA-256"):
        registry.fetch([entry], download=download(package))
    assert list(cache.iterdir()) == []


def test_changed_converter_is_noticed(
    package: Path, made: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """A converter that is not the registered one converts nothing, and says which it is."""
    entry = entry_of(package, made)
    monkeypatch.setattr(conversion, "fingerprint", lambda: "0" * 64)
    with pytest.raises(ModelFileError, match=f"has changed: its SHA-256 is {'0' * 64}"):
        registry.fetch([entry], download=download(package))
    assert list(cache.iterdir()) == []


def test_registered_converter_is_the_one_here():
    """What is registered was converted by the converter as it stands in this repository."""
    recipes = [entry.conversion for entry in registry.load_registry() if entry.conversion]
    assert recipes
    assert {recipe.sha256 for recipe in recipes} == {conversion.fingerprint()}


def test_conversion_is_the_same_every_time(package: Path, made: bytes):
    """The same model gives the same bytes."""
    recipe = Conversion.model_validate(entry_of(package, made).model_dump()["conversion"])
    assert conversion.convert(package, "package/m/model.json", recipe) == made
