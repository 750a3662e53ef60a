"""Which detector runs a weight file, and that a file of another is refused before it serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import registry
from services.detection.architectures import (
    ARCHITECTURES,
    Architecture,
    CenterNet,
    DFine,
    architecture_of,
    check_outputs,
    warm_up,
)
from services.errors import ModelFileError
from services.inference.engine import TensorSpec
from services.inference.fake import FakeEngine
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from tests.detection.pictures import encoded, photo
from tests.detection.test_dfine import WEIGHTS

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=repr)


def test_registered_detectors_are_known():
    """Each registered file of the detection card is run by an architecture that is known."""
    found = {entry.name: architecture_of(entry) for entry in detectors()}
    assert found == {"detection": CenterNet(), "dfine-s": DFine()}


def detectors() -> list[registry.ModelFile]:
    return [entry for entry in registry.load_registry() if entry.card == "cards/detection.md"]


@pytest.mark.parametrize("architecture", [None, "yolo"])
def test_file_that_is_no_detector_is_named(architecture: str | None):
    """A file without an architecture that is known here is refused with those that are."""
    entry = registry.find("nsfw").model_copy(update={"architecture": architecture})
    with pytest.raises(ModelFileError, match=r"'nsfw' is no detector.*centernet, dfine"):
        architecture_of(entry)


@every_architecture
def test_warm_up_has_the_shape_of_an_image(architecture: Architecture):
    """The engine is warmed up with what an image's tensor will look like."""
    (warm,) = warm_up(architecture)
    tensors = architecture.prepare(Picture(encoded(photo("cat")), 451, 300))
    shapes = {name: (array.shape, array.dtype) for name, array in tensors.items()}
    assert {name: (array.shape, array.dtype) for name, array in warm.items()} == shapes
    assert all(architecture.input.accepts(array) for array in tensors.values())


@every_architecture
async def test_weights_of_another_architecture_do_not_load(architecture: Architecture):
    """A file that does not take an architecture's input is an error at the start."""
    path = WEIGHTS if isinstance(architecture, CenterNet) else registry.path("detection")
    engine = OnnxEngine(path, precision="fp32", warm_up=warm_up(architecture))
    with pytest.raises(ModelFileError, match="no input is called"):
        await engine.load()
    await engine.close()


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("scores", np.float32, (1, 300, 80)),
        ("logits", np.float16, (1, 300, 80)),
        ("logits", np.float32, (1, 300, 366)),
        ("logits", np.float32, (300, 80)),
    ],
    ids=["name", "dtype", "kinds", "rank"],
)
def test_outputs_that_are_not_the_architectures_are_refused(
    name: str, dtype: type[np.generic], shape: tuple[int, ...]
):
    """Weights that give something else are refused, with what was wanted and what they give."""
    given = TensorSpec(name, np.dtype(dtype), shape)
    boxes = TensorSpec("pred_boxes", np.dtype(np.float32), (1, 300, 4))
    engine = FakeEngine((), (given, boxes), lambda inputs: inputs)
    with pytest.raises(ModelFileError, match=r"no output 'logits' float32 \[N, N, 80\]") as failure:
        check_outputs(DFine(), engine)
    assert str(given) in failure.value.message


async def test_shipped_weights_fit():
    """The weights that are fetched at setup, and those of the tests, pass."""
    shipped: list[tuple[Path, Architecture]] = [
        (registry.path("detection"), CenterNet()),
        (WEIGHTS, DFine()),
    ]
    for path, architecture in shipped:
        engine = OnnxEngine(path, precision="fp32", warm_up=warm_up(architecture))
        await engine.load()
        check_outputs(architecture, engine)
        await engine.close()
