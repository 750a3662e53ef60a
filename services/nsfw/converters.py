"""Between the domain and the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from services.nsfw.types import NsfwResult
from services.serving.dataplane import Outcome
from services.serving.status import to_status
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.nsfw.v1 import nsfw_pb2


def classify_response(outcomes: Sequence[Outcome]) -> nsfw_pb2.ClassifyResponse:
    """One message an outcome, in the same order."""
    return nsfw_pb2.ClassifyResponse(outcomes=[_outcome(outcome) for outcome in outcomes])


def encode_result(result: NsfwResult) -> bytes:
    """The message that is answered, and the form in which a result is kept."""
    return nsfw_pb2.NsfwResult(score=result.score).SerializeToString()


def check_result(encoded: bytes) -> None:
    """Raises ValueError for bytes that are no result of this model.

    No bytes at all are one: a score of 0. That none are missing, their envelope has shown.
    """
    try:
        score = nsfw_pb2.NsfwResult.FromString(encoded).score
    except DecodeError as error:
        raise ValueError("a stored result is not a result") from error
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"a stored score is {score}")


def _outcome(outcome: Outcome) -> nsfw_pb2.ClassifyOutcome:
    message = nsfw_pb2.ClassifyOutcome(digest=outcome.digest, model_version=outcome.model_version)
    if outcome.width:
        message.image_size.CopyFrom(ImageSize(width=outcome.width, height=outcome.height))
    if outcome.encoded is not None:
        # As it was stored: no object of ours in between. An empty message has to be said aloud.
        message.result.SetInParent()
        message.result.MergeFromString(outcome.encoded)
    else:
        error = outcome.error or RuntimeError("an outcome with neither result nor error")
        message.error.CopyFrom(to_status(error))
    return message
