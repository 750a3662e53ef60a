"""How the facade asks each model and writes its answers: one row each, and nothing else to change.

A model's own parameters arrive and leave as texts: `options` checks them and writes each in one way
only, so that one question has one URL, one place in a cache and one entity tag.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.client.defaults import MAX_RESULTS, MIN_LINE_SCORE, MIN_LOGO_SCORE, MIN_SCORE
from services.client.mesh import MeshClient
from services.detection import converters as detecting
from services.detection.types import Options as DetectionOptions
from services.errors import InvalidArgument
from services.logo import converters as recognizing
from services.logo.types import Options as LogoOptions
from services.nsfw import converters as classifying
from services.ocr import converters as reading
from services.ocr.types import Options as OcrOptions
from services.rest import query
from services.rest.views import Json, box, point
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.detection.v1.detection_pb2 import DetectionResult, DetectOutcome
from visionmesh.logo.v1.logo_pb2 import LogoResult, RecognizeOutcome
from visionmesh.nsfw.v1.nsfw_pb2 import ClassifyOutcome, NsfwResult
from visionmesh.ocr.v1.ocr_pb2 import OcrResult, ReadOutcome

Options = Mapping[str, str]
"""A model's own parameters, written in the one way; without what is default."""

_SCORE: Final = re.compile(r"(?=.{1,32}$)(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number as JSON writes it, from 0 on."""


def tag_parts(options: Options) -> list[str]:
    """What options add to an entity tag."""
    return [f"{name}={value}" for name, value in options.items()]


@dataclass(frozen=True)
class ModelView:
    """One model, as the facade has it.

    `ask` looks at up to 128 images, `outcome` is what it answers with for each; `check` raises
    ValueError for stored bytes that are no result, and `select` is what `options` leave of those
    that are.
    """

    name: str
    schema: str
    parameters: tuple[str, ...]
    options: Callable[[Mapping[str, str]], Options]
    ask: Callable[[MeshClient, Sequence[ImageRef], str, Options], Awaitable[Sequence[Any]]]
    outcome: Callable[..., Any]
    check: Callable[[bytes], None]
    select: Callable[[bytes, Options], Any]
    json: Callable[[Any], Json]

    def parameter(self, name: str) -> str:
        """What one of its parameters is called where there are those of other models, too."""
        return f"{self.name}.{name}"


def _classify(
    mesh: MeshClient, images: Sequence[ImageRef], version: str, options: Options
) -> Awaitable[Sequence[Any]]:
    return mesh.classify(images, model_version=version)


def _nsfw(result: NsfwResult) -> Json:
    return {"score": result.score}


def _min_score(parameters: Mapping[str, str], default: float) -> dict[str, str]:
    """The parameter `minScore`, unless it is the default. Raises InvalidArgument for no score."""
    score = parameters.get("minScore")
    if score is None:
        return {}
    if not _SCORE.fullmatch(score) or float(score) > 1:
        raise InvalidArgument("minScore is a number from 0 to 1", field="minScore", limit="1")
    if float(score) == default:
        return {}
    return {"minScore": repr(float(score)).removesuffix(".0")}


def _detection_options(parameters: Mapping[str, str]) -> Options:
    """Raises InvalidArgument for what is no score or no number."""
    return _found_options(parameters, "labels", MIN_SCORE)


def _logo_options(parameters: Mapping[str, str]) -> Options:
    """Raises InvalidArgument for what is no score or no number."""
    return _found_options(parameters, "brands", MIN_LOGO_SCORE)


def _found_options(parameters: Mapping[str, str], names: str, default: float) -> Options:
    """Options of a model that finds things; `names` is the parameter that says which."""
    written = _min_score(parameters, default)
    if wanted := parameters.get(names):
        written[names] = ",".join(sorted(set(wanted.split(","))))
    most = query.whole_number(parameters, "maxResults", MAX_RESULTS)
    if 0 < most < MAX_RESULTS:
        written["maxResults"] = str(most)
    return written


def _wanted(options: Options) -> DetectionOptions:
    labels = options.get("labels", "")
    return DetectionOptions(
        min_score=float(options.get("minScore", MIN_SCORE)),
        labels=frozenset(labels.split(",") if labels else ()),
        max_results=int(options.get("maxResults", 0)),
    )


def _detect(
    mesh: MeshClient, images: Sequence[ImageRef], version: str, options: Options
) -> Awaitable[Sequence[Any]]:
    wanted = _wanted(options)
    return mesh.detect(
        images,
        model_version=version,
        min_score=wanted.min_score,
        labels=sorted(wanted.labels),
        max_results=wanted.max_results,
    )


def _select(data: bytes, options: Options) -> DetectionResult:
    return detecting.select(DetectionResult.FromString(data), _wanted(options))


def _detection(result: DetectionResult) -> Json:
    return {
        "detections": [
            {"label": found.label, "score": found.score, "box": box(found.box)}
            for found in result.detections
        ]
    }


def _line_score(options: Options) -> float:
    return float(options.get("minScore", MIN_LINE_SCORE))


def _read(
    mesh: MeshClient, images: Sequence[ImageRef], version: str, options: Options
) -> Awaitable[Sequence[Any]]:
    return mesh.read(images, model_version=version, min_score=_line_score(options))


def _ocr(result: OcrResult) -> Json:
    return {
        "text": result.text,
        "lines": [
            {
                "text": line.text,
                "score": line.score,
                "box": box(line.box),
                "corners": [point(corner) for corner in line.corners],
            }
            for line in result.lines
        ],
    }


def _wanted_logos(options: Options) -> LogoOptions:
    brands = options.get("brands", "")
    return LogoOptions(
        min_score=float(options.get("minScore", MIN_LOGO_SCORE)),
        brands=frozenset(brands.split(",") if brands else ()),
        max_results=int(options.get("maxResults", 0)),
    )


def _recognize(
    mesh: MeshClient, images: Sequence[ImageRef], version: str, options: Options
) -> Awaitable[Sequence[Any]]:
    wanted = _wanted_logos(options)
    return mesh.recognize(
        images,
        model_version=version,
        min_score=wanted.min_score,
        brands=sorted(wanted.brands),
        max_results=wanted.max_results,
    )


def _select_logos(data: bytes, options: Options) -> LogoResult:
    return recognizing.select(LogoResult.FromString(data), _wanted_logos(options))


def _logo(result: LogoResult) -> Json:
    return {
        "logos": [
            {
                "brand": logo.brand,
                "score": logo.score,
                "box": box(logo.box),
                "corners": [point(corner) for corner in logo.corners],
            }
            for logo in result.logos
        ]
    }


MODEL_VIEWS: Final[tuple[ModelView, ...]] = (
    ModelView(
        "nsfw",
        "ImageNsfw",
        (),
        lambda parameters: {},
        _classify,
        ClassifyOutcome,
        classifying.check_result,
        lambda data, options: NsfwResult.FromString(data),
        _nsfw,
    ),
    ModelView(
        "detection",
        "ImageDetection",
        ("minScore", "labels", "maxResults"),
        _detection_options,
        _detect,
        DetectOutcome,
        detecting.check_result,
        _select,
        _detection,
    ),
    ModelView(
        "ocr",
        "ImageOcr",
        ("minScore",),
        lambda parameters: _min_score(parameters, MIN_LINE_SCORE),
        _read,
        ReadOutcome,
        reading.check_result,
        lambda data, options: reading.select(
            OcrResult.FromString(data), OcrOptions(_line_score(options))
        ),
        _ocr,
    ),
    ModelView(
        "logo",
        "ImageLogo",
        ("minScore", "brands", "maxResults"),
        _logo_options,
        _recognize,
        RecognizeOutcome,
        recognizing.check_result,
        _select_logos,
        _logo,
    ),
)
