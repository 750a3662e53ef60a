"""Between results, stored bytes and messages."""

from __future__ import annotations

import math

import pytest

from services import errors
from services.nsfw import converters
from services.nsfw.types import NsfwResult
from services.serving.dataplane import Outcome
from services.serving.status import from_status
from visionmesh.nsfw.v1 import nsfw_pb2


@pytest.mark.parametrize("score", [0.0, 1e-300, 0.123456789012345, 1.0])
def test_result_becomes_the_answer_as_it_was_encoded(score: float):
    """A result keeps every bit of its score (0 too), its size and version on the wire."""
    encoded = converters.encode_result(NsfwResult(score))
    converters.check_result(encoded)
    outcome = Outcome("a" * 64, "version", encoded, None, 640, 480)
    (message,) = converters.classify_response([outcome]).outcomes
    assert message.WhichOneof("outcome") == "result"
    assert (message.digest, message.model_version) == ("a" * 64, "version")
    assert message.result.score == score
    assert message.result.SerializeToString() == encoded
    assert (message.image_size.width, message.image_size.height) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        nsfw_pb2.NsfwResult(score=0.5).SerializeToString()[:-1],
        nsfw_pb2.NsfwResult(score=math.nan).SerializeToString(),
        nsfw_pb2.NsfwResult(score=1.5).SerializeToString(),
        nsfw_pb2.NsfwResult(score=-0.5).SerializeToString(),
    ],
    ids=["garbage", "cut", "NaN", "above", "below"],
)
def test_stored_form_that_is_none_is_refused(data: bytes):
    """Stored bytes that hold no score between 0 and 1 are a ValueError, never a score."""
    with pytest.raises(ValueError, match="stored"):
        converters.check_result(data)


def test_error_becomes_a_status():
    """An error travels as its status, without a size that is not known."""
    error = errors.ImageNotFound("there is no such image")
    (message,) = converters.classify_response([Outcome("a" * 64, "version", error=error)]).outcomes
    assert message.WhichOneof("outcome") == "error"
    assert type(from_status(message.error)) is errors.ImageNotFound
    assert not message.HasField("image_size")


def test_negative_result_keeps_the_size():
    """An image that the model cannot look at still has a size."""
    outcome = Outcome("a" * 64, "version", None, errors.CorruptImage("no"), 640, 480)
    (message,) = converters.classify_response([outcome]).outcomes
    assert (message.image_size.width, message.image_size.height) == (640, 480)


def test_origin_is_not_told():
    """Where a result came from would tell what others hold."""
    outcome = Outcome("a" * 64, "version", converters.encode_result(NsfwResult(0.5)))
    (message,) = converters.classify_response([outcome]).outcomes
    assert "origin" not in {field.name for field, _ in message.ListFields()}
