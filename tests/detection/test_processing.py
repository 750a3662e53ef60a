"""From pictures to tensors, and from tensors to boxes: against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.detection import processing
from services.detection.labels import LABELS
from services.detection.types import Parameters
from services.errors import CorruptImage
from services.inference.picture import Picture
from services.media.decode import decode_rgb
from tests.detection import reference
from tests.detection.pictures import encoded

PARAMETERS = Parameters()
SIZES = [
    (512, 512),
    (640, 427),
    (427, 640),
    (16, 16),
    (1, 20_000),
    (20_000, 1),
    (3, 2),
    (8000, 6000),
]


def heat_of(seed: int, share: float = 0.002) -> NDArray[np.float32]:
    """Mostly low, with a `share` of cells up to 1; neighbours are often equal."""
    generator = np.random.Generator(np.random.PCG64(seed))
    heat = generator.random((1, 80, 128, 128), np.float32) * np.float32(0.04)
    high = generator.random(heat.shape) < share
    heat[high] = np.round(generator.random(int(high.sum()), np.float32), 1)
    return heat


def reach_of(seed: int) -> NDArray[np.float32]:
    """Distances up to 200 pixels, some negative as the model's are."""
    generator = np.random.Generator(np.random.PCG64(seed + 1000))
    return (generator.random((1, 4, 128, 128), np.float32) * 210 - 10).astype(np.float32)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_reference(size: tuple[int, int], seed: int):
    """Peaks, boxes and suppression give what the slow reference gives, in its order."""
    heat, reach = heat_of(seed, 0.0005), reach_of(seed)
    outputs = {processing.HEAT: heat, processing.REACH: reach}
    result = processing.postprocess(outputs, *size, PARAMETERS)
    expected = reference.decode(heat[0], reach[0], *size)
    assert [(found.label, found.score) for found in result.detections] == [
        (LABELS[kind], round(score, 4)) for kind, score, _ in expected
    ]
    for found, (_, _, box) in zip(result.detections, expected, strict=True):
        # Whole pixels, and one at least.
        assert abs(found.x - box[0]) <= 1
        assert abs(found.y - box[1]) <= 1
        assert abs(found.x + found.width - box[2]) <= 1
        assert abs(found.y + found.height - box[3]) <= 1


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_box_lies_in_the_image(size: tuple[int, int]):
    """However far a box reaches, what is answered is inside of the image and has an area."""
    outputs = {processing.HEAT: heat_of(7, 0.01), processing.REACH: reach_of(7) * 20}
    result = processing.postprocess(outputs, *size, PARAMETERS)
    assert 0 < len(result.detections) <= PARAMETERS.max_detections
    for found in result.detections:
        assert 0 <= found.x < found.x + found.width <= size[0]
        assert 0 <= found.y < found.y + found.height <= size[1]


def test_full_heatmap_is_bounded():
    """A heatmap that is one plateau, where every cell is a peak, gives 100 detections at most."""
    outputs = {
        processing.HEAT: np.ones((1, 80, 128, 128), np.float32),
        processing.REACH: np.full((1, 4, 128, 128), 2, np.float32),
    }
    result = processing.postprocess(outputs, 512, 512, PARAMETERS)
    assert len(result.detections) == PARAMETERS.max_detections


def test_nothing_above_the_floor_is_nothing():
    """A heatmap below the floor gives an empty result."""
    outputs = {processing.HEAT: heat_of(1, 0.0), processing.REACH: reach_of(1)}
    assert processing.postprocess(outputs, 512, 512, PARAMETERS).detections == ()


def one_peak(kind: int, x: int, y: int, reach: tuple[float, ...], score: float = 0.5):
    heat = np.zeros((1, 80, 128, 128), np.float32)
    heat[0, kind, y, x] = score
    return {
        processing.HEAT: heat,
        processing.REACH: np.tile(np.array(reach, np.float32)[None, :, None, None], (128, 128)),
    }


def test_box_is_in_pixels_of_the_original():
    """What the model sees at a place of its square is where that lies in the original."""
    # 1024 × 512 lies in rows 128 to 384 of the square, at half its size.
    outputs = one_peak(15, 64, 64, (40.0, 20.0, 60.0, 30.0))
    (found,) = processing.postprocess(outputs, 1024, 512, PARAMETERS).detections
    assert (found.label, found.score) == ("cat", 0.5)
    assert (found.x, found.y, found.width, found.height) == (432, 216, 200, 100)


def test_box_beside_the_image_is_none():
    """What the model sees in the black border is not answered."""
    outputs = one_peak(15, 64, 10, (10.0, 10.0, 10.0, 10.0))
    assert processing.postprocess(outputs, 1024, 512, PARAMETERS).detections == ()


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((512, 512), (0, 0, 512, 512)),
        ((1024, 512), (0, 128, 512, 256)),
        ((300, 451), (85, 0, 341, 512)),
        ((16, 16), (0, 0, 512, 512)),
        ((1, 20_000), (255, 0, 1, 512)),
        ((20_000, 1), (0, 255, 512, 1)),
        ((1536, 1023), (0, 85, 512, 341)),
    ],
    ids=str,
)
def test_frame(size: tuple[int, int], place: tuple[int, ...]):
    """An image lies in the middle of the square, as large as it can be."""
    assert processing.frame(*size, 512) == place


def test_picture_is_letterboxed_in_black():
    """The image is scaled as a whole; what is left of the square is black."""
    image = Image.new("RGB", (100, 50), (250, 10, 20))
    picture = Picture(encoded(image), 100, 50)
    tensor = processing.prepare(picture, PARAMETERS)[processing.INPUT]
    assert tensor.shape == (1, 512, 512, 3)
    assert tensor.dtype == np.uint8
    assert tensor[0, :128].max() == tensor[0, 384:].max() == 0
    assert np.abs(tensor[0, 128:384] - np.array([250, 10, 20])).max() <= 3


@pytest.mark.parametrize(
    "size", [(1536, 1024), (1536, 600), (1024, 1536), (1300, 1300), (640, 480)]
)
def test_decoding_while_scaling_changes_little(size: tuple[int, int]):
    """A large rendition is decoded at a smaller scale that still fills the square."""
    x, y = np.meshgrid(np.linspace(0, 6, size[0]), np.linspace(0, 6, size[1]))
    rgb = np.stack([np.sin(x) * 99 + 128, np.cos(y) * 99 + 128, np.sin(x + y) * 99 + 128], axis=2)
    data = encoded(rgb.astype(np.uint8))
    picture = Picture(data, *size)
    tensor = processing.prepare(picture, PARAMETERS)[processing.INPUT]
    place = processing.frame(*size, 512)
    whole = processing.preprocess(decode_rgb(data), place, PARAMETERS)
    assert np.abs(tensor.astype(int) - whole.astype(int)).mean() < 1


@pytest.mark.parametrize("size", [(16, 16), (1, 1536), (1536, 1), (2, 3)], ids=str)
def test_small_and_thin_renditions_are_prepared(size: tuple[int, int]):
    """An image of hardly any pixels fills its part of the square."""
    picture = Picture(encoded(Image.new("RGB", size, (200, 200, 200))), *size)
    tensor = processing.prepare(picture, PARAMETERS)[processing.INPUT]
    place = processing.frame(*size, 512)
    assert (tensor.max(axis=3) > 100).sum() == place.width * place.height


def test_bytes_that_are_no_image_are_corrupt():
    """A rendition that cannot be decoded is CorruptImage."""
    data = encoded(Image.new("RGB", (64, 64)))[:300]
    with pytest.raises(CorruptImage):
        processing.prepare(Picture(data, 64, 64), PARAMETERS)
