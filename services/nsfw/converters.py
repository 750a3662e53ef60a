"""Between the domain and the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from services.nsfw.types import NsfwResult
from services.serving.dataplane import Outcome
from services.serving.responses import outcome_message
from visionmesh.nsfw.v1 import nsfw_pb2


def classify_response(outcomes: Sequence[Outcome]) -> nsfw_pb2.ClassifyResponse:
    """One message an outcome, in the same order."""
    return nsfw_pb2.ClassifyResponse(
        outcomes=[
            outcome_message(nsfw_pb2.ClassifyOutcome, outcome, nsfw_pb2.NsfwResult.FromString)
            for outcome in outcomes
        ]
    )


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
