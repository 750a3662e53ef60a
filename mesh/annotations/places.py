"""What models saw and where, out of their results, and what of it a verdict rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.detection.v1.detection_pb2 import DetectionResult
from visionmesh.logo.v1.logo_pb2 import LogoResult
from visionmesh.moderation.v1.moderation_pb2 import Verdict
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

Corners = tuple[tuple[int, int], ...]
"""Four points in pixels of the upright original, clockwise."""


@dataclass(frozen=True, slots=True)
class Place:
    """One thing that a model saw. `reasons` are the codes of a verdict that it is evidence for."""

    model: str
    label: str
    corners: Corners
    reasons: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Left, upper, right and lower border of the smallest upright rectangle around it."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def _objects(result: DetectionResult) -> Iterator[Place]:
    for found in result.detections:
        yield Place("detection", f"{found.label} {found.score:.2f}", _corners(found.box))


def _lines(result: OcrResult) -> Iterator[Place]:
    for line in result.lines:
        yield Place("ocr", line.text, _corners(line.box, line.corners))


def _logos(result: LogoResult) -> Iterator[Place]:
    for logo in result.logos:
        label = f"{logo.brand} {logo.score:.2f}"
        yield Place("logo", label, _corners(logo.box, logo.corners))


PLACES: Final[Mapping[str, Callable[[Any], Iterable[Place]]]] = {
    "detection": _objects,
    "ocr": _lines,
    "logo": _logos,
}
"""The models whose results have places, and how to read them."""


def places_of(results: Mapping[str, Any], verdict: Verdict) -> list[Place]:
    """All places of results, by model; what a verdict names as evidence knows for which reasons.

    Evidence that is in no result, as it scores less than what is asked for, has a place as well.
    """
    places = [place for name, result in results.items() for place in PLACES[name](result)]
    for evidence in _evidence(verdict):
        same = [at for at, place in enumerate(places) if _is_same(place, evidence)]
        for at in same:
            reasons = dict.fromkeys((*places[at].reasons, *evidence.reasons))
            places[at] = replace(places[at], reasons=tuple(reasons))
        if not same:
            places.append(evidence)
    return places


def _evidence(verdict: Verdict) -> Iterator[Place]:
    for reason in verdict.reasons:
        for seen in reason.evidence:
            if seen.HasField("box"):
                score = f" {seen.score:.2f}" if seen.HasField("score") else ""
                corners = _corners(seen.box, seen.corners)
                yield Place(
                    seen.model, seen.text or f"{seen.label}{score}", corners, (reason.code,)
                )


def _is_same(place: Place, evidence: Place) -> bool:
    return (place.model, place.bounds) == (evidence.model, evidence.bounds)


def _corners(box: Box, points: Sequence[Point] = ()) -> Corners:
    if len(points) == 4:
        return tuple((point.x, point.y) for point in points)
    right, lower = box.x + box.width, box.y + box.height
    return ((box.x, box.y), (right, box.y), (right, lower), (box.x, lower))
