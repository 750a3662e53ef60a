"""Which of a brand's marks is there: icon, name, or both in one.

Many marks are a part of another one of their brand. What is seen of an icon fits the same icon
before a name just as well, and the whole would then lie elsewhere and be three times as large. So
where a mark is found, the others of its brand are laid over it as they lie in one another, and each
is looked for feature by feature where it would have to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.logo import agreement, geometry
from services.logo.agreement import Matches
from services.logo.comparison import Comparison
from services.logo.geometry import Map, Points
from services.logo.types import Features, MatchParameters

_PARTS: Final = 8
"""Into how many parts a mark is divided along its longer side."""


@dataclass(frozen=True, slots=True)
class _Laid:
    """A mark laid over an image by a map, and which of its features are seen there."""

    mark: int
    mapping: Map
    known: Features
    size: Points
    seen: NDArray[np.bool_]

    @property
    def side(self) -> float:
        """Pixels of the image along the longer side."""
        return geometry.scale(self.mapping) * float(self.size.max())

    @property
    def covered(self) -> float:
        """Of the parts that have features, how many have one that is seen."""
        along = int(self.size[1] > self.size[0])
        places = self.known.points[:, along]
        low, high = places.min(), places.max()
        parts = np.minimum((places - low) / max(high - low, 1.0) * _PARTS, _PARTS - 1).astype(int)
        return len(np.unique(parts[self.seen])) / len(np.unique(parts))

    def reaches_beyond(self, other: _Laid) -> bool:
        """Whether something of this is seen where the other one is not."""
        places = geometry.applied(self.mapping, self.known.points[self.seen, :2].astype(np.float64))
        return not geometry.inside(places, other.mapping, *other.size).all()


def settled(
    mark: int,
    mapping: Map,
    features: Features,
    compared: Comparison,
    parameters: MatchParameters,
) -> tuple[int, Map] | None:
    """The mark of the same brand that is there, and its map into the image; None when none is.

    Of marks that are parts of one another it is the largest of which something is seen beyond the
    smaller ones, and enough in all.
    """
    options = [(mark, mapping), *_kin(mark, mapping, compared, parameters)]
    laid = [_laid(*option, features, compared, parameters) for option in options]
    enough = [one for one in laid if one.covered >= parameters.min_covered]
    found: _Laid | None = None
    for one in sorted(enough, key=lambda one: one.side):
        if found is None or one.reaches_beyond(found):
            found = one
    return None if found is None else (found.mark, found.mapping)


def _laid(
    mark: int,
    mapping: Map,
    features: Features,
    compared: Comparison,
    parameters: MatchParameters,
) -> _Laid:
    """Knowing where, a feature of the image counts that looks far less alike than what may be
    believed alone."""
    known, size = compared.features_of(mark), compared.sizes[mark].astype(np.float64)
    enlarged = geometry.scale(mapping)
    turn = np.rad2deg(np.arctan2(mapping[1, 0] - mapping[0, 1], mapping[0, 0] + mapping[1, 1]))
    expected = geometry.applied(mapping, known.points[:, :2].astype(np.float64))
    reach = max(parameters.min_fit, parameters.covered_fit * enlarged * float(size.max()))
    low, high = expected.min(axis=0) - reach, expected.max(axis=0) + reach
    near = ((features.points[:, :2] > low) & (features.points[:, :2] < high)).all(axis=1)
    around = features.take(near)
    off = expected[:, None] - around.points[None, :, :2]
    growth = np.log(around.points[None, :, 2] / (known.points[:, None, 2] * enlarged))
    turned = around.points[None, :, 3] - known.points[:, None, 3] - turn
    right = (off**2).sum(axis=2) < reach**2
    right &= np.abs(growth) < np.log(parameters.growth)
    right &= np.abs((turned + 180) % 360 - 180) < parameters.turn
    one, other = np.nonzero(right)
    apart = known.descriptors[one].astype(np.int32) - around.descriptors[other]
    seen = np.zeros(len(known), np.bool_)
    seen[one[(apart**2).sum(axis=1) < parameters.covered_distance**2]] = True
    return _Laid(mark, mapping, known, size, seen)


def _kin(
    mark: int, mapping: Map, compared: Comparison, parameters: MatchParameters
) -> Iterator[tuple[int, Map]]:
    """The other marks of a brand, where they are when this one is there."""
    for other in compared.marks_of(int(compared.brand_of[mark])):
        if other != mark and (within := _between(other, mark, compared, parameters)) is not None:
            yield other, geometry.after(mapping, within)


def _between(one: int, other: int, compared: Comparison, parameters: MatchParameters) -> Map | None:
    """The map of a mark into another one, of which it is a part or which is a part of it."""
    here, there = compared.features_of(one), compared.features_of(other)
    products = here.descriptors.astype(np.float32) @ there.descriptors.astype(np.float32).T
    lengths = [(part.descriptors.astype(np.float32) ** 2).sum(axis=1) for part in (here, there)]
    apart = np.sqrt(np.maximum(lengths[0][:, None] + lengths[1][None] - 2 * products, 0))
    nearest = apart.argmin(axis=1)
    rows = np.arange(len(here))
    alike = (apart[rows, nearest] < parameters.twin) & (apart.argmin(axis=0)[nearest] == rows)
    rows = np.flatnonzero(alike)
    matches = Matches(
        there.points[nearest[rows]].astype(np.float64),
        here.points[rows].astype(np.float64),
        np.ones(len(rows)),
    )
    if len(matches) < parameters.min_matches:
        return None
    side = float(compared.sizes[one].max())
    agreeing = agreement.most_agreed(matches, side, parameters)
    fitted = agreement.fit(matches, agreeing, side, parameters)
    if fitted is None:
        return None
    # Nothing but scaled and moved: what lies beyond the part depends on it.
    _, agreed = fitted
    return geometry.similarity(matches.known[agreed, :2], matches.seen[agreed, :2])
