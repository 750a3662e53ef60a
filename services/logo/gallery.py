"""Marks that images are compared with, and the nearest of their features.

The search is Faiss's inverted file: features are divided into lists around centres, and only the
lists around a query are looked into. It holds a feature as its 128 bytes, is the same for everybody
who loads it, and needs no time to be built (docs/decisions/logo-matching.md has the measurements).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from services.logo.types import Features, Mark, MatchParameters

DIMENSIONS = 128


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For each of n features of an image its k nearest of a gallery, the nearest first.

    `distances` is float32 [n, k], `places` int64 [n, k]: rows of the gallery's arrays, -1 where
    there are no more.
    """

    distances: NDArray[np.float32]
    places: NDArray[np.int64]


class Gallery:
    """Marks with their features in one table: what one image can be compared with at once.

    `brands` are names, `brand_of` the brand of each mark, `mark_of` the mark of each feature.
    `points` is float32 [n, 4] as in `Features`, in pixels of the mark; `sizes` float32 [marks, 2].
    """

    def __init__(
        self,
        brands: Sequence[str],
        brand_of: NDArray[np.int32],
        sizes: NDArray[np.float32],
        mark_of: NDArray[np.int32],
        points: NDArray[np.float32],
        descriptors: NDArray[np.uint8],
        index: Any,
        beside: Gallery | None = None,
    ) -> None:
        """`index` is a Faiss inverted file over `descriptors`, with the centres of the gallery
        `beside`, which lives for as long."""
        self._beside = beside
        self.brands = tuple(brands)
        self.brand_of = brand_of
        self.sizes = sizes
        self.mark_of = mark_of
        self.points = points
        self.descriptors = descriptors
        self.index = index

    def __len__(self) -> int:
        """How many features."""
        return len(self.points)

    @property
    def feature_brands(self) -> NDArray[np.int32]:
        """The brand of each feature."""
        brands: NDArray[np.int32] = self.brand_of[self.mark_of]
        return brands

    def features_of(self, mark: int) -> Features:
        """All features of a mark, which are in the order of the marks."""
        first, end = np.searchsorted(self.mark_of, [mark, mark + 1])
        return Features(self.points[first:end], self.descriptors[first:end])

    def nearest(self, descriptors: NDArray[np.uint8], count: int, probes: int) -> Neighbours:
        """The features next to those of an image, uint8 [n, 128]."""
        if not len(self) or not len(descriptors):
            shape = (len(descriptors), count)
            return Neighbours(np.full(shape, np.inf, np.float32), np.full(shape, -1, np.int64))
        # One core a picture, of which as many are looked at at a time as there are cores.
        faiss.omp_set_num_threads(1)
        wanted: Any = faiss.SearchParametersIVF()
        wanted.nprobe = min(probes, self.index.nlist)
        squares, places = self.index.search(descriptors.astype(np.float32), count, params=wanted)
        distances = np.sqrt(np.maximum(squares, 0))
        distances[places < 0] = np.inf
        return Neighbours(distances, places)


def build(marks: Sequence[Mark], parameters: MatchParameters) -> Gallery:
    """A gallery of marks. Blocks; a big one takes seconds, most of them to choose the centres."""
    descriptors = _descriptors(marks)
    lists = min(parameters.lists, max(1, len(descriptors) // 40))
    quantizer = faiss.IndexFlatL2(DIMENSIONS)
    index = _inverted_file(quantizer, lists)
    if len(descriptors):
        quantizer.add(_centres(descriptors, lists))
        index.add(descriptors.astype(np.float32))
    return _gallery(marks, descriptors, index)


def build_beside(marks: Sequence[Mark], base: Gallery) -> Gallery:
    """A gallery of further marks that divides them as `base` does: nothing is to be chosen anew."""
    descriptors = _descriptors(marks)
    index = _inverted_file(base.index.quantizer, base.index.nlist)
    if len(descriptors):
        faiss.omp_set_num_threads(1)
        index.add(descriptors.astype(np.float32))
    return _gallery(marks, descriptors, index, base)


def descriptors_of(index: Any) -> NDArray[np.uint8]:
    """The features that an inverted file holds, uint8 [n, 128], as they were added."""
    descriptors = np.empty((index.ntotal, DIMENSIONS), np.uint8)
    for number in range(index.nlist):
        if count := index.invlists.list_size(number):
            rows = faiss.rev_swig_ptr(index.invlists.get_ids(number), count)
            codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), count * DIMENSIONS)
            descriptors[rows] = codes.reshape(count, DIMENSIONS)
    return descriptors


def _centres(descriptors: NDArray[np.uint8], lists: int) -> NDArray[np.float32]:
    """k-means: Faiss's own, from a fixed seed."""
    faiss.omp_set_num_threads(1)
    clusters = faiss.Kmeans(
        DIMENSIONS, lists, niter=8, seed=1, min_points_per_centroid=1, max_points_per_centroid=100
    )
    clusters.train(descriptors.astype(np.float32))
    return np.asarray(clusters.centroids, np.float32)


def _inverted_file(quantizer: Any, lists: int) -> Any:
    index = faiss.IndexIVFScalarQuantizer(
        quantizer,
        DIMENSIONS,
        lists,
        faiss.ScalarQuantizer.QT_8bit_direct,
        faiss.METRIC_L2,
        # Of the features themselves, not of what they differ from their centre: they are whole.
        False,
    )
    index.is_trained = True  # bytes as they are: there is nothing to learn
    return index


def _gallery(
    marks: Sequence[Mark],
    descriptors: NDArray[np.uint8],
    index: Any,
    beside: Gallery | None = None,
) -> Gallery:
    brands = sorted({mark.brand for mark in marks})
    number = {brand: place for place, brand in enumerate(brands)}
    counts = [len(mark.features) for mark in marks]
    return Gallery(
        brands,
        np.array([number[mark.brand] for mark in marks], np.int32),
        np.array([(mark.width, mark.height) for mark in marks], np.float32).reshape(-1, 2),
        np.repeat(np.arange(len(marks), dtype=np.int32), counts),
        np.concatenate([np.zeros((0, 4), np.float32), *(mark.features.points for mark in marks)]),
        descriptors,
        index,
        beside,
    )


def _descriptors(marks: Sequence[Mark]) -> NDArray[np.uint8]:
    empty = np.zeros((0, DIMENSIONS), np.uint8)
    return np.concatenate([empty, *(mark.features.descriptors for mark in marks)])
