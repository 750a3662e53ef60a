"""Between results, stored bytes and messages, and what the options leave."""

from __future__ import annotations

import math

import pytest

from services import errors
from services.ocr import converters
from services.ocr.types import Line, OcrResult, Options
from services.serving.dataplane import Outcome
from services.serving.status import from_status
from visionmesh.ocr.v1 import ocr_pb2

SIGN = Line("NO PARKING", 0.9, ((10, 5), (110, 15), (108, 35), (8, 25)))
SMALL = Line("at any time", 0.5, ((0, 50), (60, 50), (60, 60), (0, 60)))
UPWARDS = Line("côté", 0.5, ((7, 90), (7, 40), (17, 40), (17, 90)))
RESULT = OcrResult((SIGN, SMALL, UPWARDS))


def answered(result: OcrResult, options: Options = Options()) -> ocr_pb2.OcrResult:  # noqa: B008
    encoded = converters.encode_result(result)
    converters.check_result(encoded)
    outcome = Outcome("a" * 64, "version", encoded, None, 640, 480)
    (message,) = converters.read_response([outcome], options).outcomes
    assert message.WhichOneof("outcome") == "result"
    assert (message.digest, message.model_version) == ("a" * 64, "version")
    assert (message.image_size.width, message.image_size.height) == (640, 480)
    return message.result


@pytest.mark.parametrize("result", [RESULT, OcrResult(())], ids=["some", "none"])
def test_result_becomes_the_answer_as_it_was_encoded(result: OcrResult):
    """Without options all of a result is answered, an empty one too, with all of it as one text."""
    message = answered(result)
    assert message.text == "\n".join(line.text for line in result.lines)
    for line, found in zip(result.lines, message.lines, strict=True):
        assert (found.text, found.score) == (line.text, line.score)
        assert tuple((corner.x, corner.y) for corner in found.corners) == line.corners


def test_box_is_around_the_corners():
    """A line's box is the smallest upright rectangle that has all of its corners."""
    boxes = [line.box for line in answered(RESULT).lines]
    assert [(box.x, box.y, box.width, box.height) for box in boxes] == [
        (8, 5, 102, 30),
        (0, 50, 60, 10),
        (7, 40, 10, 50),
    ]


@pytest.mark.parametrize(
    ("min_score", "text"),
    [(0.0, "NO PARKING\nat any time\ncôté"), (0.5, "NO PARKING\nat any time\ncôté"),
     (0.51, "NO PARKING"), (1.0, "")],
)  # fmt: skip
def test_min_score_leaves_out_lines_and_their_text(min_score: float, text: str):
    """What is left out of the lines is left out of the text."""
    message = answered(RESULT, Options(min_score))
    assert message.text == text
    assert [line.text for line in message.lines] == text.splitlines()


def test_request_becomes_options():
    """What a request does not say leaves nothing out."""
    assert converters.options(ocr_pb2.ReadRequest()) == Options()
    assert converters.options(ocr_pb2.ReadRequest(min_score=0.25)) == Options(0.25)


def changed(**fields: object) -> bytes:
    """A stored result of one line, of which something is not so."""
    message = ocr_pb2.OcrResult.FromString(converters.encode_result(OcrResult((SIGN,))))
    line = message.lines[0]
    for name, value in fields.items():
        if name == "all":
            message.text = str(value)
        elif name == "corner":
            line.corners[0].x = int(str(value))
        elif name == "fewer":
            del line.corners[3]
        elif name == "width":
            line.box.width = int(str(value))
        else:
            setattr(line, name, value)
    return message.SerializeToString()


FLAT = OcrResult((Line("flat", 0.5, ((0, 5), (9, 5), (9, 5), (0, 5))),))


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        converters.encode_result(RESULT)[:-1],
        changed(score=math.nan),
        changed(score=1.5),
        changed(score=-0.5),
        changed(text=""),
        changed(text="NO\nPARKING"),
        changed(text="PARKING"),
        changed(all="something else"),
        changed(corner=-1),
        changed(corner=5),
        changed(fewer=True),
        changed(width=0),
        converters.encode_result(FLAT),
    ],
    ids=[
        "garbage", "cut", "NaN", "above", "below", "no text", "two lines", "another text",
        "another whole", "outside", "another corner", "three corners", "empty box", "flat",
    ],
)  # fmt: skip
def test_stored_form_that_is_none_is_refused(data: bytes):
    """Stored bytes that hold no result are a ValueError, never an answer."""
    with pytest.raises(ValueError, match="stored"):
        converters.check_result(data)


def test_error_becomes_a_status():
    """An error travels as its status, without a size that is not known."""
    error = errors.ImageNotFound("there is no such image")
    (message,) = converters.read_response([Outcome("a" * 64, "version", error=error)]).outcomes
    assert message.WhichOneof("outcome") == "error"
    assert type(from_status(message.error)) is errors.ImageNotFound
    assert not message.HasField("image_size")
