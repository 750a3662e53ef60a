"""The model on its real weights: photos, TensorFlow.js's own boxes, bad input, and its version."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from models import registry
from services.detection import processing
from services.detection.architectures import ARCHITECTURES, Architecture, CenterNet, warm_up
from services.detection.labels import LABELS
from services.detection.model import DetectionModel
from services.detection.types import Detection, DetectionResult, Parameters
from services.errors import CorruptImage
from services.inference.engine import EngineOutputError, Tensors, TensorSpec
from services.inference.fake import FakeEngine
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from tests.detection.pictures import encoded, photo
from tests.detection.reference import iou
from tests.models.test_centernet import picture as drawn

ENTRY = registry.find("detection")
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "models" / "centernet" / "golden.json").read_text("utf-8")
)["pictures"]


@pytest.fixture
async def engine() -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(
        registry.path("detection"), precision=ENTRY.precision, warm_up=warm_up(CenterNet())
    )
    await engine.load()
    yield engine
    await engine.close()


@pytest.fixture
def model(engine: OnnxEngine) -> DetectionModel:
    return DetectionModel(engine, ENTRY.sha256)


def described_engine() -> OnnxEngine:
    """An engine that is asked what it is, and never loaded."""
    return OnnxEngine(Path("nothing.onnx"), precision=ENTRY.precision)


async def look(model: DetectionModel, image: Image.Image) -> DetectionResult:
    return await model.predict(Picture(encoded(image), *image.size))


def sure(result: DetectionResult, min_score: float = 0.4) -> list[Detection]:
    return [found for found in result.detections if found.score >= min_score]


async def test_cat_is_a_cat(model: DetectionModel):
    """The surest thing on the photo of a cat is a cat, and its box is most of the photo."""
    image = photo("cat")
    found = sure(await look(model, image))[0]
    assert found.label == "cat"
    assert found.width * found.height > image.width * image.height * 0.6


async def test_astronaut_is_a_person(model: DetectionModel):
    """The one thing that is sure on the portrait of an astronaut is a person."""
    assert [found.label for found in sure(await look(model, photo("astronaut")))] == ["person"]


async def test_boxes_go_with_the_photo(model: DetectionModel):
    """A photo beside nothing, and one of four times its size, show the same at another place."""
    image = photo("cat")
    (alone,) = sure(await look(model, image))[:1]
    wide = Image.new("RGB", (image.width * 2, image.height), (90, 90, 90))
    wide.paste(image, (image.width, 0))
    beside = next(found for found in sure(await look(model, wide)) if found.label == "cat")
    moved = (alone.x + image.width, alone.y, alone.x + image.width + alone.width)
    box = (beside.x, beside.y, beside.x + beside.width, beside.y + beside.height)
    assert iou((*moved, alone.y + alone.height), box) > 0.7
    data = encoded(image)
    # The rendition of a larger original: its boxes are the original's.
    big = await model.predict(Picture(data, image.width * 4, image.height * 4))
    scaled = [value / 4 for value in (big.detections[0].x, big.detections[0].width)]
    assert scaled == pytest.approx([alone.x, alone.width], abs=1)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["seed"])
async def test_decoding_is_that_of_tensorflow_js(engine: OnnxEngine, golden: dict[str, object]):
    """What the published graph decodes itself is found, but for what lies beside the image."""
    everything = Parameters(max_iou=1.0)
    outputs = await engine.infer({processing.INPUT: drawn(golden["seed"])[None]})  # type: ignore[arg-type]
    found = processing.postprocess(outputs, 512, 512, everything).detections
    for mine, theirs in zip(found, golden["detections"], strict=False):  # type: ignore[call-overload]
        left, top, right, bottom = (min(max(round(value), 0), 512) for value in theirs[:4])
        assert mine.label == LABELS[int(theirs[5])]
        assert mine.score == pytest.approx(theirs[4], abs=1e-4)
        box = (mine.x, mine.y, mine.x + mine.width, mine.y + mine.height)
        assert box == pytest.approx((left, top, right, bottom), abs=1)


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (1, 1536), (1536, 1)], ids=str)
async def test_tiny_and_thin_pictures_have_results(model: DetectionModel, size: tuple[int, int]):
    """A picture of hardly any pixels is looked at like any other."""
    width, height = size[0] * 13, size[1] * 13
    result = await model.predict(Picture(encoded(Image.new("RGB", size, "red")), width, height))
    for found in result.detections:
        assert found.x + found.width <= width
        assert found.y + found.height <= height
    model.check(model.encode(result))


async def test_bytes_that_are_no_image_are_corrupt(model: DetectionModel):
    """A rendition that cannot be decoded is CorruptImage, and the model goes on."""
    with pytest.raises(CorruptImage):
        await model.predict(Picture(encoded(photo("cat"))[:300], 451, 300))
    assert sure(await look(model, photo("cat")))


async def test_nan_is_no_result():
    """An engine whose outputs are not finite gives an error, never a result."""

    def nan(inputs: Tensors) -> Tensors:
        heat = np.zeros((1, 80, 128, 128), np.float32)
        heat[0, 0, 0, 0] = np.nan
        return {processing.HEAT: heat, processing.REACH: np.zeros((1, 4, 128, 128), np.float32)}

    inputs = (TensorSpec(processing.INPUT, np.dtype(np.uint8), (None, 512, 512, 3)),)
    engine = FakeEngine(inputs, (), nan)
    await engine.load()
    with pytest.raises(EngineOutputError):
        await look(DetectionModel(engine, "0" * 64), photo("cat"))


def version(weights: str = ENTRY.sha256, parameters: Parameters = Parameters()) -> str:  # noqa: B008
    return DetectionModel(described_engine(), weights, CenterNet(parameters)).version


@pytest.mark.parametrize(
    "changed",
    [
        {"side": 511},
        {"stride": 5},
        {"min_score": 0.06},
        {"max_peaks": 999},
        {"max_iou": 0.5},
        {"max_detections": 99},
    ],
    ids=str,
)
def test_every_parameter_changes_the_version(changed: dict[str, object]):
    """Another value of any parameter is another version."""
    assert version(parameters=replace(Parameters(), **changed)) != version()  # type: ignore[arg-type]


def test_weights_change_the_version():
    """Another weight file is another version."""
    assert version(weights="0" * 64) != version()


@pytest.mark.parametrize(
    ("architecture", "source"),
    [(each, source) for each in ARCHITECTURES.values() for source in each.sources],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_one_line_of_any_source_changes_the_version(
    architecture: Architecture,
    source: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """A line more in any module between bytes and boxes is another version."""
    before = DetectionModel(described_engine(), "0" * 64, architecture).version
    assert source.__file__ is not None
    path = tmp_path / "edited.py"
    path.write_text(Path(source.__file__).read_text("utf-8") + "\nEDITED = True\n", "utf-8")
    spec = importlib.util.spec_from_file_location(source.__name__, path)
    assert spec is not None
    edited = importlib.util.module_from_spec(spec)
    sources = tuple(edited if module is source else module for module in architecture.sources)
    monkeypatch.setattr(type(architecture), "sources", sources)
    assert DetectionModel(described_engine(), "0" * 64, architecture).version != before
