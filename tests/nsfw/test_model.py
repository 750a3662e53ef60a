"""The model on its real weights: golden scores, and a version that follows the code."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from models import registry
from services.errors import CorruptImage
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from services.media.decode import decode_rgb
from services.nsfw import model as model_module
from services.nsfw import processing
from services.nsfw.model import SOURCES, NsfwModel, warm_up
from services.nsfw.types import Parameters
from tests.nsfw import reference
from tests.nsfw.pictures import bodies, grey, jpeg, noise, smooth
from visionmesh.nsfw.v1 import nsfw_pb2

ENTRY = registry.find("nsfw")


@pytest.fixture
async def engine() -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(
        registry.path("nsfw"), precision=ENTRY.precision, warm_up=warm_up(Parameters())
    )
    await engine.load()
    yield engine
    await engine.close()


def picture_of(rendition: bytes) -> Picture:
    """A picture whose size does not matter here."""
    return Picture(rendition, 600, 432)


def described_engine() -> OnnxEngine:
    """An engine that is asked what it is, and never loaded."""
    return OnnxEngine(Path("nothing.onnx"), precision=ENTRY.precision)


GOLDEN = {
    "high": (jpeg(bodies(432, 600, seed=242)), 0.830983),
    "high, decoded to half its size": (jpeg(bodies(1024, 1536, seed=242)), 0.820900),
    "middle, where a score moves most": (jpeg(bodies(432, 600, seed=172)), 0.498986),
    "grey": (jpeg(grey(bodies(500, 300, seed=242))), 0.738733),
    "low": (jpeg(smooth(600, 800)), 0.000005),
    "noise": (jpeg(noise(256, 256)), 0.000159),
}


@pytest.mark.parametrize("name", GOLDEN)
async def test_golden_scores(engine: OnnxEngine, name: str):
    """Generated images have the scores that they had when this was written."""
    rendition, score = GOLDEN[name]
    result = await NsfwModel(engine, ENTRY.sha256).predict(picture_of(rendition))
    assert result.score == pytest.approx(score, abs=1e-4)


async def test_score_is_the_reference_recipes(engine: OnnxEngine):
    """On an image that is decoded whole, the score is what the reference recipe gives."""
    rendition = jpeg(bodies(400, 500, seed=7))
    result = await NsfwModel(engine, ENTRY.sha256).predict(picture_of(rendition))
    tensor = reference.preprocess(decode_rgb(rendition))
    outputs = await engine.infer({processing.INPUT: tensor})
    assert result.score == outputs[processing.OUTPUT][0, 1]


async def test_warm_up_has_the_shape_of_an_image(engine: OnnxEngine):
    """The engine is warmed up with what an image's tensor will look like."""
    (warm,) = warm_up(Parameters())
    tensor = processing.prepare(jpeg(bodies(50, 50)), Parameters())[processing.INPUT]
    assert warm[processing.INPUT].shape == tensor.shape
    assert warm[processing.INPUT].dtype == tensor.dtype
    assert [spec.name for spec in engine.inputs] == [processing.INPUT]
    assert [spec.name for spec in engine.outputs] == [processing.OUTPUT]


async def test_bytes_that_are_no_image_are_corrupt(engine: OnnxEngine):
    """A rendition that cannot be decoded is CorruptImage, and the model goes on."""
    model = NsfwModel(engine, ENTRY.sha256)
    rendition = jpeg(bodies(64, 64))
    with pytest.raises(CorruptImage):
        await model.predict(picture_of(rendition[:300]))
    assert 0 < (await model.predict(picture_of(rendition))).score < 1


def version(weights: str = ENTRY.sha256, parameters: Parameters = Parameters()) -> str:  # noqa: B008
    return NsfwModel(described_engine(), weights, parameters).version


@pytest.mark.parametrize(
    "changed",
    [
        {"decode_min_side": 433},
        {"resize_side": 255},
        {"crop_side": 223},
        {"jpeg_quality": 76},
        {"means_bgr": (104.0, 117.0, 123.5)},
    ],
    ids=str,
)
def test_every_parameter_changes_the_version(changed: dict[str, object]):
    """Another value of any parameter is another version."""
    assert version(parameters=replace(Parameters(), **changed)) != version()  # type: ignore[arg-type]


def test_weights_change_the_version():
    """Another weight file is another version."""
    assert version(weights="0" * 64) != version()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_one_line_of_any_source_changes_the_version(
    source: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A line more in any module between bytes and score is another version."""
    before = version()
    assert source.__file__ is not None
    path = tmp_path / "edited.py"
    path.write_text(Path(source.__file__).read_text("utf-8") + "\nEDITED = True\n", "utf-8")
    spec = importlib.util.spec_from_file_location(source.__name__, path)
    assert spec is not None
    edited = importlib.util.module_from_spec(spec)
    sources = tuple(edited if module is source else module for module in SOURCES)
    monkeypatch.setattr(model_module, "SOURCES", sources)
    assert version() != before


def test_stored_form_is_the_contracts_message():
    """The model encodes the contract's message, and takes it for a result of its own."""
    model = NsfwModel(described_engine(), ENTRY.sha256)
    result = processing.postprocess({processing.OUTPUT: np.array([[0.5, 0.5]], np.float32)})
    encoded = model.encode(result)
    model.check(encoded)
    assert nsfw_pb2.NsfwResult.FromString(encoded).score == result.score
