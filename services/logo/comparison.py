"""What a tenant's images are compared with: the built-in gallery, and its own beside that."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.logo.gallery import Gallery, Neighbours
from services.logo.types import Features, MatchParameters

T = TypeVar("T", bound=np.generic)


class Comparison:
    """Two galleries as one. Features and marks of `own` are counted on from those of `base`.

    A brand of both is one brand. `brands` are names, `brand_of` the brand of each mark, `sizes`
    float32 [marks, 2].
    """

    def __init__(self, base: Gallery, own: Gallery | None = None) -> None:
        self._base = base
        self._own = own if own is not None and len(own) else None
        self.brands = base.brands
        self.brand_of = base.brand_of
        self.sizes = base.sizes
        if self._own:
            known = {brand: place for place, brand in enumerate(base.brands)}
            added = [brand for brand in self._own.brands if brand not in known]
            self.brands = (*base.brands, *added)
            known |= {brand: len(base.brands) + place for place, brand in enumerate(added)}
            number = np.array([known[brand] for brand in self._own.brands], np.int32)
            self.brand_of = np.concatenate([base.brand_of, number[self._own.brand_of]])
            self.sizes = np.concatenate([base.sizes, self._own.sizes])

    def is_own(self, mark: int) -> bool:
        """Whether a mark is of the tenant's own gallery."""
        return mark >= len(self._base.sizes)

    def marks_of(self, brand: int) -> list[int]:
        """All marks of a brand."""
        return [int(mark) for mark in np.flatnonzero(self.brand_of == brand)]

    def features_of(self, mark: int) -> Features:
        """All features of a mark, in its pixels."""
        marks = len(self._base.sizes)
        if self._own is not None and mark >= marks:
            return self._own.features_of(mark - marks)
        return self._base.features_of(mark)

    def nearest(self, descriptors: NDArray[np.uint8], parameters: MatchParameters) -> Neighbours:
        """The features next to those of an image, of both galleries together."""
        count, probes = parameters.neighbours, parameters.probes
        near = self._base.nearest(descriptors, count, probes)
        if self._own is None:
            return near
        other = self._own.nearest(descriptors, count, probes)
        places = np.where(other.places >= 0, other.places + len(self._base), -1)
        distances = np.concatenate([near.distances, other.distances], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        return Neighbours(
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(np.concatenate([near.places, places], axis=1), order, axis=1),
        )

    def akin(self, places: NDArray[np.int64], twin: float) -> NDArray[np.bool_]:
        """Of rows of features [n, k], which are of the first one's brand, or look like it."""
        brands = self.brand_of[self.marks_at(places)]
        descriptors = self.descriptors_at(places).astype(np.int32)
        squares = ((descriptors - descriptors[:, :1]) ** 2).sum(axis=2)
        alike: NDArray[np.bool_] = (brands == brands[:, :1]) | (squares < twin * twin)
        return alike

    def marks_at(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """The mark of each feature; of a place that is none, that of any."""
        base = len(self._base)
        if self._own is None:
            return self._base.mark_of[places]
        marks = self._base.mark_of[np.minimum(places, base - 1)]
        own = places >= base
        marks[own] = self._own.mark_of[places[own] - base] + len(self._base.sizes)
        return marks

    def points_at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """The keypoint of each feature, float32 [..., 4]."""
        own = self._own.points if self._own else None
        return _gathered(self._base.points, own, places)

    def descriptors_at(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What each feature looks like, uint8 [..., 128]."""
        own = self._own.descriptors if self._own else None
        return _gathered(self._base.descriptors, own, places)


def _gathered(base: NDArray[T], own: NDArray[T] | None, places: NDArray[np.int64]) -> NDArray[T]:
    """Rows of two tables, of which one begins where the other one ends."""
    if own is None:
        return np.asarray(base[places])
    rows = np.asarray(base[np.minimum(places, len(base) - 1)])
    later = places >= len(base)
    rows[later] = own[places[later] - len(base)]
    return rows
