"""Between the domain and the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from services.detection.labels import LABELS
from services.detection.types import DetectionResult, Options
from services.errors import InvalidArgument
from services.serving.dataplane import Outcome
from services.serving.responses import outcome_message
from visionmesh.detection.v1 import detection_pb2

_KNOWN = frozenset(LABELS)


def options(request: detection_pb2.DetectRequest) -> Options:
    """What a request asks for. Raises InvalidArgument for a label that the model does not know."""
    wanted = frozenset(request.labels)
    if unknown := wanted - _KNOWN:
        known = ", ".join(LABELS)
        raise InvalidArgument(
            f"labels: there is no {min(unknown)!r}; there are: {known}",
            field="labels",
            limit=known,
        )
    return Options(request.min_score, wanted, request.max_results)


def detect_response(
    outcomes: Sequence[Outcome],
    options: Options = Options(),  # noqa: B008 -- frozen
) -> detection_pb2.DetectResponse:
    """One message an outcome, in the same order; of each result what `options` leave of it."""

    def selected(encoded: bytes) -> detection_pb2.DetectionResult:
        return select(detection_pb2.DetectionResult.FromString(encoded), options)

    return detection_pb2.DetectResponse(
        outcomes=[
            outcome_message(detection_pb2.DetectOutcome, outcome, selected) for outcome in outcomes
        ]
    )


def encode_result(result: DetectionResult) -> bytes:
    """The message that is answered without options, and the form in which a result is kept."""
    message = detection_pb2.DetectionResult()
    for found in result.detections:
        added = message.detections.add(label=found.label, score=found.score)
        box = added.box
        box.x, box.y, box.width, box.height = found.x, found.y, found.width, found.height
        box.SetInParent()
    return message.SerializeToString()


def check_result(encoded: bytes) -> None:
    """Raises ValueError for bytes that are no result of this model.

    No bytes at all are one: nothing was found. That none are missing, their envelope has shown.
    """
    try:
        detections = detection_pb2.DetectionResult.FromString(encoded).detections
    except DecodeError as error:
        raise ValueError("a stored result is not a result") from error
    before = 1.0
    for found in detections:
        if found.label not in _KNOWN:
            raise ValueError(f"a stored label is {found.label!r}")
        if not 0.0 <= found.score <= before:
            raise ValueError(f"a stored score is {found.score}")
        if min(found.box.x, found.box.y) < 0 or min(found.box.width, found.box.height) < 1:
            raise ValueError("a stored box is none")
        before = found.score


def select(
    result: detection_pb2.DetectionResult, options: Options
) -> detection_pb2.DetectionResult:
    """What `options` leave of a result."""
    if options == Options():
        return result
    found = [
        one
        for one in result.detections
        if one.score >= options.min_score and (not options.labels or one.label in options.labels)
    ]
    return detection_pb2.DetectionResult(detections=found[: options.max_results or None])
