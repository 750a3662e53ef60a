"""Which marks of a gallery agree with the features of an image, and where they are.

Every keypoint has a place, a size and a direction, so a single match says where the whole logo is
(Lowe, 2004, section 7.3). Matches that say the same are found first; the map through all of them is
fitted then. What agrees about the place may be much less distinctive than what is believed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.logo import agreement, geometry, kinship
from services.logo.agreement import Matches
from services.logo.comparison import Comparison
from services.logo.geometry import Map, Points
from services.logo.types import Features, Logo, LogoResult, MatchParameters

SCORE_DIGITS: Final = 4
"""Of a score that is kept: the rest differs from machine to machine."""

_RATIO_WEIGHT: Final = 0.8
"""How much of a match's weight its ratio can take."""


@dataclass(frozen=True, slots=True)
class Found:
    """A mark that is there: what its matches weigh, and its corners in the image [4, 2]."""

    mark: int
    weight: float
    corners: Points


def recognize(
    features: Features,
    compared: Comparison,
    looked_at: tuple[int, int],
    size: tuple[int, int],
    parameters: MatchParameters,
) -> LogoResult:
    """The logos of an image of this `size`, whose features are in pixels of what was looked at.

    Blocks for tens of milliseconds. The same for the same features and gallery.
    """
    found: list[Found] = []
    for mark, matches in candidates(features, compared, parameters):
        width, height = map(float, compared.sizes[mark])
        for weight, mapping in places(matches, width, height, parameters):
            there = kinship.settled(mark, mapping, features, compared, parameters)
            if there is not None:
                found.append(_found(*there, weight, compared))
    logos = []
    zoom = np.array([size[0] / looked_at[0], size[1] / looked_at[1]])
    for one in strongest(found, compared, parameters):
        if (inside := geometry.clipped(one.corners * zoom, *size)) is None:
            continue
        box, corners = inside
        brand = compared.brands[compared.brand_of[one.mark]]
        logos.append(Logo(brand, score(one.weight), *box, corners))
        if len(logos) == parameters.max_logos:
            break
    return LogoResult(tuple(logos))


def _found(mark: int, mapping: Map, weight: float, compared: Comparison) -> Found:
    width, height = map(float, compared.sizes[mark])
    return Found(mark, weight, geometry.applied(mapping, geometry.rectangle(width, height)))


def score(weight: float) -> float:
    """How sure that is, in [0, 1]: `1 - exp(-weight / 2)`. Not a probability."""
    return round(1 - exp(-weight / 2), SCORE_DIGITS)


def candidates(
    features: Features, compared: Comparison, parameters: MatchParameters
) -> Iterator[tuple[int, Matches]]:
    """The marks that enough features look like, each with these."""
    near = compared.nearest(features.descriptors, parameters)
    # Rivals are other brands, but for features that look like the nearest one: marks that share a
    # part say nothing against each other, and geometry decides between them.
    rival = ~compared.akin(near.places, parameters.twin) & (near.places >= 0)
    first = np.where(rival.any(axis=1), rival.argmax(axis=1), near.places.shape[1])
    last = np.minimum(first, near.places.shape[1] - 1)
    limit = np.take_along_axis(near.distances, last[:, None], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = near.distances / limit
    ratios[np.isnan(ratios)] = 1.0
    before = np.arange(near.places.shape[1])[None] < first[:, None]
    seen_at, column = np.nonzero(before & (near.places >= 0) & (ratios < parameters.max_ratio))
    known_at = near.places[seen_at, column]
    weights = 1 - _RATIO_WEIGHT * ratios[seen_at, column].astype(np.float64)
    marks = compared.marks_at(known_at)
    order = np.argsort(marks, kind="stable")
    marks, starts, counts = np.unique(marks[order], return_index=True, return_counts=True)
    for mark, start, count in zip(marks, starts, counts, strict=True):
        if count < parameters.min_matches:
            continue
        rows = order[start : start + count]
        yield (
            int(mark),
            Matches(
                features.points[seen_at[rows]].astype(np.float64),
                compared.points_at(known_at[rows]).astype(np.float64),
                weights[rows],
            ),
        )


def places(
    matches: Matches, width: float, height: float, parameters: MatchParameters
) -> Iterator[tuple[float, Map]]:
    """Where a mark of this size is, the best place first: weight and map into the image."""
    while len(matches) >= parameters.min_matches:
        agreeing = agreement.most_agreed(matches, max(width, height), parameters)
        fitted = agreement.fit(matches, agreeing, max(width, height), parameters)
        if fitted is None:
            return
        mapping, agreeing = fitted
        weight = plausible(matches.take(agreeing), mapping, width, height, parameters)
        if weight is not None:
            yield weight, mapping
        rest = np.ones(len(matches), np.bool_)
        rest[agreeing] = False
        if weight is not None:
            # What else is there is explained by it: letters that are twice in a word would
            # otherwise be seen as the word once more, a letter further on.
            rest &= ~geometry.inside(matches.seen[:, :2], mapping, width, height)
        matches = matches.take(rest)


def plausible(
    matches: Matches, mapping: Map, width: float, height: float, parameters: MatchParameters
) -> float | None:
    """What matches that agree weigh together; None when no logo looks like that.

    Keypoints in one place count once, however many directions they have.
    """
    known = _different(matches.known[:, :2], 4.0)
    seen = _different(matches.seen[:, :2], 2.0)
    if min(known, seen) < parameters.min_matches:
        return None
    if geometry.spread(matches.known[:, :2]) < parameters.min_spread * min(width, height):
        return None
    if geometry.shear(mapping) > parameters.max_shear:
        return None
    if geometry.scale(mapping) * max(width, height) < parameters.min_side:
        return None
    weight = float(matches.weights.sum()) * min(known, seen) / len(matches)
    return weight if weight >= parameters.min_weight else None


def strongest(found: list[Found], compared: Comparison, parameters: MatchParameters) -> list[Found]:
    """What is found, the heaviest first, without what covers the place of something heavier.

    A brand of the tenant's own goes before one that everybody has: who registers a mark that
    another brand has too wants to be told its own name for it.
    """
    kept: list[tuple[Found, NDArray[np.float64]]] = []
    for one in sorted(found, key=lambda one: -one.weight):
        box = geometry.bounds(one.corners)
        rivals = [
            place
            for place, (_, other) in enumerate(kept)
            if geometry.overlap(box, other) > parameters.max_overlap
        ]
        if not rivals:
            kept.append((one, box))
        elif all(_gives_way(kept[place][0], one, compared, parameters) for place in rivals):
            kept = [pair for place, pair in enumerate(kept) if place not in rivals]
            kept.append((one, box))
    return sorted((one for one, _ in kept), key=lambda one: -one.weight)


def _gives_way(
    heavier: Found, one: Found, compared: Comparison, parameters: MatchParameters
) -> bool:
    if not compared.is_own(one.mark) or compared.is_own(heavier.mark):
        return False
    return one.weight >= parameters.own_weight * heavier.weight


def _different(points: Points, step: float) -> int:
    """How many points there are, those in one square of a grid counted once."""
    return len(np.unique(np.floor(points / step), axis=0))
