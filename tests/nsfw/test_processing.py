"""Preprocessing against the reference recipe, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.errors import CorruptImage
from services.media.decode import decode_rgb
from services.nsfw import processing
from services.nsfw.types import NsfwResult, Parameters
from tests.nsfw import reference
from tests.nsfw.pictures import bodies, grey, jpeg, noise, smooth

SIZES = [
    (1, 1),
    (1, 20_000),
    (20_000, 1),
    (2, 3),
    (37, 611),
    (224, 224),
    (255, 257),
    (256, 256),
    (432, 768),
    (1024, 1536),
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("make", [noise, smooth, bodies])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_equal_to_the_reference(size: tuple[int, int], make, colour: bool):
    """The tensor of an image equals the reference recipe's in every bit."""
    image: NDArray[np.uint8] = make(*size)
    image = image if colour else grey(image)
    tensor = processing.preprocess(image, Parameters())
    assert tensor.dtype == np.float32
    assert tensor.shape == (1, 224, 224, 3)
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, reference.preprocess(image))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: np.rot90(a),
        lambda a: a.transpose(1, 0, 2),
        lambda a: a[::2, 1:],
    ],
    ids=["flipped", "rotated", "transposed", "strided"],
)
def test_views_equal_their_copies(view):
    """An array whose memory is not in order gives what its copy gives."""
    image = view(bodies(301, 407))
    assert not image.flags.c_contiguous
    tensor = processing.preprocess(image, Parameters())
    np.testing.assert_array_equal(tensor, reference.preprocess(np.ascontiguousarray(image)))


def test_input_is_left_as_it_is():
    """Preprocessing changes nothing in the image that it is given."""
    image = noise(300, 400)
    before = image.copy()
    processing.preprocess(image, Parameters())
    np.testing.assert_array_equal(image, before)


def test_small_rendition_is_decoded_whole():
    """An encoded image with a side below the limit reaches the model in all its pixels."""
    image = bodies(432, 600)
    tensors = processing.prepare(jpeg(image), Parameters())
    assert list(tensors) == ["input:0"]
    whole = decode_rgb(jpeg(image))
    np.testing.assert_array_equal(tensors["input:0"], reference.preprocess(whole))


def test_large_rendition_is_near_to_a_full_decode():
    """Decoding while scaling leaves the tensor close to that of the whole image."""
    encoded = jpeg(smooth(1024, 1536))
    tensors = processing.prepare(encoded, Parameters())
    whole = reference.preprocess(decode_rgb(encoded))
    difference = np.abs(tensors["input:0"] - whole)
    assert 0 < difference.mean() < 1.5


def test_bytes_that_are_no_image_are_corrupt():
    """A rendition that cannot be decoded is CorruptImage."""
    with pytest.raises(CorruptImage):
        processing.prepare(jpeg(bodies(64, 64))[:300], Parameters())


def test_second_output_is_the_score():
    """The result is the probability of `not safe`, as a plain number."""
    result = processing.postprocess({"outputs": np.array([[0.75, 0.25]], np.float32)})
    assert result == NsfwResult(score=0.25)
    assert type(result.score) is float
