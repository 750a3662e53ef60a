"""Between the domain and the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from services import limits
from services.nsfw.types import NsfwResult
from services.serving.dataplane import Origin, Outcome
from services.serving.status import to_status
from visionmesh.common.v1 import model_pb2
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.common.v1.outcome_pb2 import ResultOrigin
from visionmesh.nsfw.v1 import nsfw_pb2

_ORIGINS = {
    Origin.INFERENCE: ResultOrigin.RESULT_ORIGIN_INFERENCE,
    Origin.STORED: ResultOrigin.RESULT_ORIGIN_STORED,
}


def classify_response(outcomes: Sequence[Outcome[NsfwResult]]) -> nsfw_pb2.ClassifyResponse:
    """One message an outcome, in the same order."""
    return nsfw_pb2.ClassifyResponse(outcomes=[_outcome(outcome) for outcome in outcomes])


def encode_result(result: NsfwResult) -> bytes:
    """The form in which a result is stored."""
    return nsfw_pb2.NsfwResult(score=result.score).SerializeToString()


def decode_result(data: bytes) -> NsfwResult:
    """The result of a stored form. Raises ValueError when it is none."""
    # An empty message is valid protobuf with a score of 0: a file cut to nothing would approve.
    if not data:
        raise ValueError("a stored result is empty")
    try:
        score = nsfw_pb2.NsfwResult.FromString(data).score
    except DecodeError as error:
        raise ValueError("a stored result is not a result") from error
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"a stored score is {score}")
    return NsfwResult(score)


def model_response(
    *,
    name: str,
    version: str,
    description: str,
    labels: Sequence[str],
    license: str,
    media_types: Sequence[str],
) -> nsfw_pb2.GetModelResponse:
    """What the model is, and what one call may carry."""
    return nsfw_pb2.GetModelResponse(
        model=model_pb2.Model(
            name=name,
            version=version,
            description=description,
            labels=labels,
            license=license,
            input_limits=model_pb2.InputLimits(
                max_images=limits.MAX_BATCH_IMAGES,
                max_image_bytes=limits.MAX_IMAGE_BYTES,
                max_image_pixels=limits.MAX_IMAGE_PIXELS,
                max_inline_bytes=limits.MAX_INLINE_BYTES,
                media_types=media_types,
            ),
        )
    )


def _outcome(outcome: Outcome[NsfwResult]) -> nsfw_pb2.ClassifyOutcome:
    message = nsfw_pb2.ClassifyOutcome(digest=outcome.digest, model_version=outcome.model_version)
    if outcome.width:
        message.image_size.CopyFrom(ImageSize(width=outcome.width, height=outcome.height))
    if outcome.result is not None:
        message.result.CopyFrom(nsfw_pb2.NsfwResult(score=outcome.result.score))
        message.origin = _ORIGINS[outcome.origin]
    else:
        error = outcome.error or RuntimeError("an outcome with neither result nor error")
        message.error.CopyFrom(to_status(error))
    return message
