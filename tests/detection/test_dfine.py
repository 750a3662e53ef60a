"""D-FINE's processing against `transformers`' own: golden values made by dfine/golden.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.detection import dfine
from services.detection.architectures import DFine, check_outputs, warm_up
from services.detection.labels import LABELS
from services.detection.model import DetectionModel
from services.detection.types import DetectionResult, DFineParameters
from services.errors import CorruptImage
from services.inference.engine import EngineOutputError
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from tests.detection.dfine.drawing import outputs, picture
from tests.detection.pictures import PHOTOS, encoded

PARAMETERS = DFineParameters()
HERE = Path(__file__).parent / "dfine"
GOLDEN = json.loads((HERE / "golden.json").read_text("utf-8"))
WEIGHTS = HERE / "tiny.onnx"

Golden = dict[str, Any]

every_picture = pytest.mark.parametrize(
    "golden", GOLDEN["preprocessed"], ids=lambda golden: str(golden["size"])
)
every_output = pytest.mark.parametrize(
    "golden", GOLDEN["postprocessed"], ids=lambda golden: str(golden["size"])
)


@every_picture
def test_tensor_is_that_of_transformers(golden: Golden):
    """The tensor is, bit for bit, that of the processor that `transformers` has on Pillow."""
    tensor = dfine.preprocess(picture(*golden["size"]), PARAMETERS)
    assert tensor.shape == (1, 3, 640, 640)
    assert tensor.dtype == np.float32
    assert hashlib.sha256(tensor.astype("<f4").tobytes()).hexdigest() == golden["sha256"]


@every_picture
def test_tensor_is_almost_that_of_torchvision(golden: Golden):
    """The processor that `transformers` has on torchvision rounds differently: by one level of 255
    at most.
    """
    tensor = dfine.preprocess(picture(*golden["size"]), PARAMETERS)
    places = np.arange(GOLDEN["samples"]) * GOLDEN["step"] % tensor.size
    levels = np.rint(tensor.ravel()[places] * 255)
    assert np.abs(levels - golden["torchvision"]).max() <= 1


@every_output
def test_scores_and_boxes_are_those_of_transformers(golden: Golden):
    """Labels and their order are the processor's, scores within 1e-6, boxes within the rounding of
    its float32.
    """
    logits, boxes = outputs(golden["seed"])
    queries, kinds, scores = dfine.highest(logits[0], PARAMETERS.min_score)
    corners = dfine.in_pixels(boxes[0][queries], *golden["size"])
    expected = np.array(golden["detections"])
    assert kinds.tolist() == expected[:, 0].tolist()
    assert np.abs(scores - expected[:, 1]).max() < 1e-6
    assert np.abs(corners - expected[:, 2:]).max() < max(golden["size"]) * 1e-6


@every_output
def test_result_is_the_surest_of_it_inside_the_image(golden: Golden):
    """The result is what the processor gives, cut at the borders: the first 100, in pixels."""
    width, height = golden["size"]
    expected = []
    for label, score, *box in golden["detections"]:
        left, right = np.clip(box[0::2], 0, width)
        top, bottom = np.clip(box[1::2], 0, height)
        if left < right and top < bottom:
            expected.append((LABELS[label], score, (left, top, right, bottom)))
    found = result_of(*outputs(golden["seed"]), width, height).detections
    assert len(found) == PARAMETERS.max_detections < len(expected)
    for mine, (label, score, box) in zip(found, expected, strict=False):
        assert mine.label == label
        assert mine.score == pytest.approx(score, abs=6e-5)
        assert 0 <= mine.x < mine.x + mine.width <= width
        assert 0 <= mine.y < mine.y + mine.height <= height
        sides = (mine.x, mine.y, mine.x + mine.width, mine.y + mine.height)
        assert np.abs(np.array(sides) - box).max() <= 1


def result_of(
    logits: NDArray[np.float32], boxes: NDArray[np.float32], width: int, height: int
) -> DetectionResult:
    tensors = {dfine.LOGITS: logits, dfine.BOXES: boxes}
    return dfine.postprocess(tensors, width, height, PARAMETERS)


def one_query(box: tuple[float, ...], **scores: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Outputs of one query: logits by kind, all others far below."""
    logits = np.full((1, 1, 80), -20, np.float32)
    for kind, logit in scores.items():
        logits[0, 0, LABELS.index(kind)] = logit
    return logits, np.array([[box]], np.float32)


def test_box_is_in_pixels_of_the_original():
    """Shares of the square, to which the picture was stretched, are shares of the original."""
    (found,) = result_of(*one_query((0.5, 0.5, 0.25, 0.5), cat=0.0), 1024, 512).detections
    assert (found.label, found.score) == ("cat", 0.5)
    assert (found.x, found.y, found.width, found.height) == (384, 128, 256, 256)


def test_box_beside_the_image_is_none():
    """What lies beyond a border, or has no area, is not answered."""
    for box in [(-0.2, 0.5, 0.2, 0.2), (0.5, 1.3, 0.2, 0.2), (0.5, 0.5, 0.0, 0.5)]:
        assert result_of(*one_query(box, cat=3.0), 640, 480).detections == ()


def test_as_many_scores_count_as_there_are_queries():
    """Of all scores of all queries the highest count, so that two kinds may share a box."""
    logits, boxes = one_query((0.5, 0.5, 0.5, 0.5), cat=1.0, dog=0.9)
    assert [found.label for found in result_of(logits, boxes, 9, 9).detections] == ["cat"]
    logits = np.concatenate([logits, np.full((1, 1, 80), -20, np.float32)], axis=1)
    boxes = np.concatenate([boxes, boxes], axis=1)
    assert [found.label for found in result_of(logits, boxes, 9, 9).detections] == ["cat", "dog"]


def test_equal_scores_keep_the_order_of_the_queries():
    """Where scores are equal the order is that of the queries, on every machine."""
    logits = np.full((1, 300, 80), -20, np.float32)
    kinds = np.arange(300) * 7 % 80
    logits[0, np.arange(300), kinds] = 2.0
    found = result_of(logits, np.full((1, 300, 4), 0.5, np.float32), 100, 100).detections
    assert [one.label for one in found] == [LABELS[kind] for kind in kinds[:100]]


@pytest.mark.parametrize("logit", [-1e30, -800.0, 800.0, 1e30], ids=str)
def test_extreme_logits_are_scores(logit: float):
    """A logit that no exponential can follow is a score of 0 or of 1."""
    found = result_of(*one_query((0.5, 0.5, 0.5, 0.5), cat=logit), 9, 9).detections
    assert [one.score for one in found] == ([1.0] if logit > 0 else [])


def test_other_kinds_are_no_result():
    """Outputs of a model that was trained on other kinds are an error, never wrong labels."""
    logits = np.zeros((1, 300, 366), np.float32)
    with pytest.raises(EngineOutputError, match="366 kinds"):
        result_of(logits, np.zeros((1, 300, 4), np.float32), 9, 9)


@pytest.mark.parametrize("size", [(1, 1), (1, 1536), (1536, 1), (16, 16)], ids=str)
def test_small_and_thin_renditions_are_prepared(size: tuple[int, int]):
    """An image of hardly any pixels fills the square."""
    data = encoded(Image.new("RGB", size, (200, 200, 200)))
    tensor = dfine.prepare(Picture(data, *size), PARAMETERS)[dfine.INPUT]
    assert tensor.shape == (1, 3, 640, 640)
    assert np.abs(tensor * 255 - 200).max() < 3


def test_bytes_that_are_no_image_are_corrupt():
    """A rendition that cannot be decoded is CorruptImage."""
    data = encoded(Image.new("RGB", (64, 64)))[:300]
    with pytest.raises(CorruptImage):
        dfine.prepare(Picture(data, 64, 64), PARAMETERS)


@pytest.fixture
async def engine() -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(WEIGHTS, precision="fp32", warm_up=warm_up(DFine()))
    await engine.load()
    yield engine
    await engine.close()


@pytest.mark.parametrize("golden", GOLDEN["photos"], ids=lambda golden: golden["photo"])
async def test_photo_is_seen_as_transformers_sees_it(engine: OnnxEngine, golden: Golden):
    """A photo's bytes through engine and all give what `transformers` gives with the same weights.

    Scores within 2e-4, boxes within a pixel: what ONNX Runtime and PyTorch sum differs in the last
    bits, and so may the order of scores that are that close.
    """
    check_outputs(DFine(), engine)
    image = PHOTOS / f"{golden['photo']}.jpg"
    with Image.open(image) as opened:
        width, height = opened.size
    model = DetectionModel(engine, "0" * 64, DFine())
    result = await model.predict(Picture(image.read_bytes(), width, height))
    model.check(model.encode(result))
    assert_same(result, golden, width, height)


def assert_same(result: DetectionResult, golden: Golden, width: int, height: int) -> None:
    """Each golden detection is there, once, and nothing surer is there that is not golden."""
    left = list(result.detections)
    lowest = golden["detections"][-1][1]
    for label, score, *box in golden["detections"]:
        cut = np.clip(box, 0, [width, height] * 2)
        if cut[0] >= cut[2] or cut[1] >= cut[3]:
            continue
        same = [
            found
            for found in left
            if found.label == LABELS[label]
            and abs(found.score - score) <= 2e-4
            and np.abs(corners_of(found) - cut).max() <= 1.01
        ]
        assert same, (LABELS[label], score, box)
        left.remove(same[0])
    assert all(found.score <= lowest + 2e-4 for found in left)


def corners_of(found: Any) -> NDArray[np.float64]:
    corners = (found.x, found.y, found.x + found.width, found.y + found.height)
    return np.array(corners, np.float64)


def version(parameters: DFineParameters = PARAMETERS, weights: str = "0" * 64) -> str:
    engine = OnnxEngine(WEIGHTS, precision="fp32")
    return DetectionModel(engine, weights, DFine(parameters)).version


@pytest.mark.parametrize(
    "changed", [{"side": 639}, {"min_score": 0.06}, {"max_detections": 99}], ids=str
)
def test_every_parameter_changes_the_version(changed: dict[str, Any]):
    """Another value of any parameter is another version."""
    assert version(replace(PARAMETERS, **changed)) != version()


def test_weights_and_architecture_change_the_version():
    """Another weight file is another version, and so are the same bytes run by another detector."""
    other = DetectionModel(OnnxEngine(WEIGHTS, precision="fp32"), "0" * 64).version
    assert len({version(), version(weights="1" * 64), other}) == 3
