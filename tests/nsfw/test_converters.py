"""Between results, stored bytes and messages."""

from __future__ import annotations

import math

import pytest

from services import errors, limits
from services.nsfw import converters
from services.nsfw.types import NsfwResult
from services.serving.dataplane import Origin, Outcome
from services.serving.status import from_status
from visionmesh.common.v1.outcome_pb2 import ResultOrigin
from visionmesh.nsfw.v1 import nsfw_pb2


@pytest.mark.parametrize("score", [1e-300, 0.123456789012345, 1.0])
def test_stored_form_keeps_every_bit(score: float):
    """A stored result reads back as it was."""
    data = converters.encode_result(NsfwResult(score))
    assert converters.decode_result(data) == NsfwResult(score)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        nsfw_pb2.NsfwResult(score=0.5).SerializeToString()[:-1],
        nsfw_pb2.NsfwResult(score=math.nan).SerializeToString(),
        nsfw_pb2.NsfwResult(score=1.5).SerializeToString(),
        nsfw_pb2.NsfwResult(score=-0.5).SerializeToString(),
    ],
    ids=["empty", "garbage", "cut", "NaN", "above", "below"],
)
def test_stored_form_that_is_none_is_refused(data: bytes):
    """Stored bytes that hold no score between 0 and 1 are a ValueError, never a score."""
    with pytest.raises(ValueError, match="stored"):
        converters.decode_result(data)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (Origin.INFERENCE, "RESULT_ORIGIN_INFERENCE"),
        (Origin.STORED, "RESULT_ORIGIN_STORED"),
    ],
)
@pytest.mark.parametrize("score", [0.0, 0.5])
def test_result_becomes_a_message(origin: Origin, expected: str, score: float):
    """A result keeps its score (0 too), size, version and origin on the wire."""
    outcome = Outcome("a" * 64, "version", NsfwResult(score), None, 640, 480, origin)
    (message,) = converters.classify_response([outcome]).outcomes
    assert message.WhichOneof("outcome") == "result"
    assert (message.digest, message.model_version) == ("a" * 64, "version")
    assert message.result.score == score
    assert (message.image_size.width, message.image_size.height) == (640, 480)
    assert ResultOrigin.Name(message.origin) == expected


def test_error_becomes_a_status():
    """An error travels as its status, without a size or an origin."""
    error = errors.ImageNotFound("there is no such image")
    outcome: Outcome[NsfwResult] = Outcome("a" * 64, "version", error=error)
    (message,) = converters.classify_response([outcome]).outcomes
    assert message.WhichOneof("outcome") == "error"
    assert type(from_status(message.error)) is errors.ImageNotFound
    assert not message.HasField("image_size")
    assert ResultOrigin.Name(message.origin) == "RESULT_ORIGIN_UNSPECIFIED"


def test_every_origin_has_its_name_on_the_wire():
    """No origin of the data plane is without a value in the contract."""
    for origin in Origin:
        outcome = Outcome("a" * 64, "version", NsfwResult(0.5), origin=origin)
        (message,) = converters.classify_response([outcome]).outcomes
        assert ResultOrigin.Name(message.origin) == f"RESULT_ORIGIN_{origin.name}"


def test_model_is_described_with_its_limits():
    """What a call may carry is told from the limits that are enforced."""
    model = converters.model_response(
        name="nsfw",
        version="v",
        description="d",
        labels=["sfw", "nsfw"],
        license="BSD-2-Clause",
        media_types=["image/jpeg"],
    ).model
    assert model.input_limits.max_images == limits.MAX_BATCH_IMAGES
    assert model.input_limits.max_image_bytes == limits.MAX_IMAGE_BYTES
    assert model.input_limits.max_image_pixels == limits.MAX_IMAGE_PIXELS
    assert model.input_limits.max_inline_bytes == limits.MAX_INLINE_BYTES
    assert list(model.input_limits.media_types) == ["image/jpeg"]
