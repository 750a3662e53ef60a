"""What models say when they are simulated: the same about every image, made once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from services.catalog import Process
from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.detection.v1.detection_pb2 import DetectionResult
from visionmesh.logo.v1.logo_pb2 import LogoResult
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

OBJECTS: Final = 20
LINES: Final = 8
LOGOS: Final = 2
"""What a busy photo shows: about 5 kB of JSON from four models."""

Answer = Callable[[Any], Any]


def methods(process: Process) -> list[MethodDescriptor]:
    """The RPCs of a model that are simulated: its batch call, and GetModel."""
    service = descriptor_pool.Default().FindServiceByName(process.grpc_service or "")
    return [method for method in service.methods if is_batch(method) or _describes(method)]


def is_batch(method: MethodDescriptor) -> bool:
    """Whether a method takes images."""
    return "images" in method.input_type.fields_by_name


def answer(process: Process, method: MethodDescriptor) -> Answer:
    """What answers a method's requests, without a moment's thought."""
    response = message_factory.GetMessageClass(method.output_type)
    name = process.model or ""
    version = hashlib.sha256(name.encode()).hexdigest()[:16]
    if process.has_gallery:
        version *= 2  # the second half is the revision of the gallery that everybody has
    if _describes(method):
        described = response(model=Model(name=name, version=version))
        return lambda _request: described
    whole: Any = response()
    template = whole.outcomes.add(model_version=version)
    template.image_size.CopyFrom(ImageSize(width=1280, height=960))
    template.result.CopyFrom(_RESULTS[name])
    encoded = template.SerializeToString()

    def outcomes(request: Any) -> Any:
        found: Any = response()
        for image in request.images:
            outcome = found.outcomes.add()
            outcome.MergeFromString(encoded)
            outcome.digest = image.digest
        return found

    return outcomes


def _describes(method: MethodDescriptor) -> bool:
    return method.name == "GetModel"


def _box(number: int) -> Box:
    return Box(x=40 * number, y=30 * number, width=120, height=90)


def _corners(number: int) -> list[Point]:
    left, top = 40 * number, 30 * number
    places = ((left, top), (left + 120, top), (left + 120, top + 90), (left, top + 90))
    return [Point(x=x, y=y) for x, y in places]


def _results() -> dict[str, Message]:
    detections: list[Any] = [
        {"label": "person", "score": 0.9 - number / 100, "box": _box(number)}
        for number in range(OBJECTS)
    ]
    lines: list[Any] = [
        {
            "text": f"line {number}: pick up in town, cash only",
            "score": 0.95,
            "box": _box(number),
            "corners": _corners(number),
        }
        for number in range(LINES)
    ]
    logos: list[Any] = [
        {
            "brand": f"brand-{number}",
            "score": 0.9,
            "box": _box(number),
            "corners": _corners(number),
        }
        for number in range(LOGOS)
    ]
    return {
        "nsfw": NsfwResult(score=0.01),
        "detection": DetectionResult(detections=detections),
        "ocr": OcrResult(text="\n".join(line["text"] for line in lines), lines=lines),
        "logo": LogoResult(logos=logos),
    }


_RESULTS: Final = _results()
