"""Between the domain and the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from services.ocr.types import Corners, OcrResult, Options
from services.serving.dataplane import Outcome
from services.serving.responses import outcome_message
from visionmesh.common.v1.geometry_pb2 import Box
from visionmesh.ocr.v1 import ocr_pb2


def options(request: ocr_pb2.ReadRequest) -> Options:
    """What a request asks for; the contract has checked it."""
    return Options(request.min_score)


def read_response(
    outcomes: Sequence[Outcome],
    options: Options = Options(),  # noqa: B008 -- frozen
) -> ocr_pb2.ReadResponse:
    """One message an outcome, in the same order; of each result what `options` leave of it."""

    def selected(encoded: bytes) -> ocr_pb2.OcrResult:
        return select(ocr_pb2.OcrResult.FromString(encoded), options)

    return ocr_pb2.ReadResponse(
        outcomes=[outcome_message(ocr_pb2.ReadOutcome, outcome, selected) for outcome in outcomes]
    )


def encode_result(result: OcrResult) -> bytes:
    """The message that is answered without options, and the form in which a result is kept."""
    message = ocr_pb2.OcrResult(text=_joined([line.text for line in result.lines]))
    for line in result.lines:
        added = message.lines.add(text=line.text, score=line.score)
        added.box.CopyFrom(_box(line.corners))
        for x, y in line.corners:
            added.corners.add(x=x, y=y)
    return message.SerializeToString()


def check_result(encoded: bytes) -> None:
    """Raises ValueError for bytes that are no result of this model.

    No bytes at all are one: nothing was read. That none are missing, their envelope has shown.
    """
    try:
        result = ocr_pb2.OcrResult.FromString(encoded)
    except DecodeError as error:
        raise ValueError("a stored result is not a result") from error
    for line in result.lines:
        if not 0.0 <= line.score <= 1.0:
            raise ValueError(f"a stored score is {line.score}")
        if not line.text or "\n" in line.text:
            raise ValueError("a stored line has no text, or that of several")
        if len(line.corners) != 4 or any(min(one.x, one.y) < 0 for one in line.corners):
            raise ValueError("a stored line has no four corners")
        first, second, third, fourth = ((one.x, one.y) for one in line.corners)
        if line.box != _box((first, second, third, fourth)) or line.box.width < 1:
            raise ValueError("a stored box is not that of its corners")
        if line.box.height < 1:
            raise ValueError("a stored box is none")
    if result.text != _joined([line.text for line in result.lines]):
        raise ValueError("a stored text is not that of its lines")


def select(result: ocr_pb2.OcrResult, options: Options) -> ocr_pb2.OcrResult:
    """What `options` leave of a result, and the text of that."""
    if options == Options():
        return result
    lines = [line for line in result.lines if line.score >= options.min_score]
    return ocr_pb2.OcrResult(text=_joined([line.text for line in lines]), lines=lines)


def _joined(texts: Sequence[str]) -> str:
    return "\n".join(texts)


def _box(corners: Corners) -> Box:
    """The smallest upright rectangle around corners in whole pixels."""
    left, top = (min(values) for values in zip(*corners, strict=True))
    right, bottom = (max(values) for values in zip(*corners, strict=True))
    return Box(x=left, y=top, width=right - left, height=bottom - top)
