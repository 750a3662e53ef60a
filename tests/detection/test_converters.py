"""Between results, stored bytes and messages, and what the options leave."""

from __future__ import annotations

import math

import pytest

from services import errors
from services.detection import converters
from services.detection.labels import LABELS
from services.detection.types import Detection, DetectionResult, Options
from services.serving.dataplane import Outcome
from services.serving.status import from_status
from visionmesh.detection.v1 import detection_pb2

CAT = Detection("cat", 0.9, 0, 0, 10, 20)
DOG = Detection("dog", 0.5, 3, 4, 5, 6)
CAT_AGAIN = Detection("cat", 0.5, 30, 40, 1, 1)
CUP = Detection("cup", 0.1, 7, 8, 9, 10)
RESULT = DetectionResult((CAT, DOG, CAT_AGAIN, CUP))


def answered(result: DetectionResult, options: Options = Options()) -> list[Detection]:  # noqa: B008
    encoded = converters.encode_result(result)
    converters.check_result(encoded)
    outcome = Outcome("a" * 64, "version", encoded, None, 640, 480)
    (message,) = converters.detect_response([outcome], options).outcomes
    assert message.WhichOneof("outcome") == "result"
    assert (message.digest, message.model_version) == ("a" * 64, "version")
    assert (message.image_size.width, message.image_size.height) == (640, 480)
    return [
        Detection(d.label, d.score, d.box.x, d.box.y, d.box.width, d.box.height)
        for d in message.result.detections
    ]


@pytest.mark.parametrize("result", [RESULT, DetectionResult(())], ids=["some", "none"])
def test_result_becomes_the_answer_as_it_was_encoded(result: DetectionResult):
    """Without options all of a result is answered, an empty one too."""
    assert tuple(answered(result)) == result.detections


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (Options(min_score=0.5), [CAT, DOG, CAT_AGAIN]),
        (Options(min_score=0.51), [CAT]),
        (Options(min_score=1.0), []),
        (Options(labels=frozenset({"cat"})), [CAT, CAT_AGAIN]),
        (Options(labels=frozenset({"cup", "dog"})), [DOG, CUP]),
        (Options(labels=frozenset({"zebra"})), []),
        (Options(max_results=1), [CAT]),
        (Options(max_results=100), [CAT, DOG, CAT_AGAIN, CUP]),
        (Options(labels=frozenset({"cat", "cup"}), max_results=2), [CAT, CAT_AGAIN]),
        (Options(min_score=0.2, labels=frozenset({"cup", "dog"}), max_results=1), [DOG]),
    ],
)
def test_options_leave_the_surest_of_what_is_asked_for(options: Options, left: list[Detection]):
    """Score, kinds and number leave out from a stored result, which keeps its order."""
    assert answered(RESULT, options) == left


def test_request_becomes_options():
    """What a request does not say leaves nothing out; a kind that is named twice counts once."""
    assert converters.options(detection_pb2.DetectRequest()) == Options()
    request = detection_pb2.DetectRequest(min_score=0.25, labels=["cat", "cat"], max_results=3)
    assert converters.options(request) == Options(0.25, frozenset({"cat"}), 3)


@pytest.mark.parametrize("label", ["Cat", "cats", "", "gun"])
def test_unknown_label_is_named_with_the_known_ones(label: str):
    """A kind that the model does not know is refused, saying which it is and which there are."""
    with pytest.raises(errors.InvalidArgument) as failure:
        converters.options(detection_pb2.DetectRequest(labels=["cat", label]))
    assert failure.value.field == "labels"
    assert repr(label) in failure.value.message
    assert all(known in failure.value.message for known in LABELS)


def message_of(*found: tuple[str, float, tuple[int, int, int, int]]) -> bytes:
    message = detection_pb2.DetectionResult()
    for label, score, (x, y, width, height) in found:
        box = {"x": x, "y": y, "width": width, "height": height}
        message.detections.add(label=label, score=score, box=box)
    return message.SerializeToString()


BOX = (0, 0, 1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        message_of(("cat", 0.5, BOX))[:-1],
        message_of(("unicorn", 0.5, BOX)),
        message_of(("cat", math.nan, BOX)),
        message_of(("cat", 1.5, BOX)),
        message_of(("cat", -0.5, BOX)),
        message_of(("cat", 0.5, BOX), ("cat", 0.6, BOX)),
        message_of(("cat", 0.5, (-1, 0, 1, 1))),
        message_of(("cat", 0.5, (0, 0, 0, 1))),
    ],
    ids=["garbage", "cut", "label", "NaN", "above", "below", "order", "outside", "empty box"],
)
def test_stored_form_that_is_none_is_refused(data: bytes):
    """Stored bytes that hold no result are a ValueError, never an answer."""
    with pytest.raises(ValueError, match="stored"):
        converters.check_result(data)


def test_error_becomes_a_status():
    """An error travels as its status, without a size that is not known."""
    error = errors.ImageNotFound("there is no such image")
    (message,) = converters.detect_response([Outcome("a" * 64, "version", error=error)]).outcomes
    assert message.WhichOneof("outcome") == "error"
    assert type(from_status(message.error)) is errors.ImageNotFound
    assert not message.HasField("image_size")
