"""From points that correspond to where a logo is: similarity, affine map, corners.

Maps are float64 [2, 3]: `map[:, :2] @ point + map[:, 2]`.
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from services.logo.types import Point

Points = NDArray[np.float64]
Map = NDArray[np.float64]


def similarity(source: Points, target: Points) -> Map | None:
    """The least-squares map that scales, turns and moves `source` [n, 2] onto `target`, or None
    when the points are all one. Never mirrors. (Umeyama, 1991.)"""
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    here, there = source - from_mean, target - to_mean
    extent = (here**2).sum()
    if extent < 1e-9:
        return None
    cosine = (here * there).sum() / extent
    sine = (here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]).sum() / extent
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, to_mean - linear @ from_mean])


def affine(source: Points, target: Points) -> Map | None:
    """The least-squares affine map of `source` [n, 2] onto `target`, or None when the points are
    on a line."""
    extended = np.column_stack([source, np.ones(len(source))])
    solution, _, rank, _ = np.linalg.lstsq(extended, target, rcond=None)
    return None if rank < 3 else np.ascontiguousarray(solution.T)


def applied(mapping: Map, points: Points) -> Points:
    """`points` [n, 2] through a map."""
    mapped: Points = points @ mapping[:, :2].T + mapping[:, 2]
    return mapped


def after(second: Map, first: Map) -> Map:
    """The map that is `first` and then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], applied(second, first[:, 2:].T)[0]])


def scale(mapping: Map) -> float:
    """By how much a map enlarges lengths, on average; 0 for one that flattens or mirrors."""
    determinant = float(np.linalg.det(mapping[:, :2]))
    return float(max(0.0, determinant) ** 0.5)


def shear(mapping: Map) -> float:
    """How much longer a map makes a square in one direction than in the other: 1 for a similarity,
    infinite for a map that flattens or mirrors."""
    if scale(mapping) == 0.0:
        return float("inf")
    longest, shortest = np.linalg.svd(mapping[:, :2], compute_uv=False)
    return float(longest / shortest) if shortest > 0 else float("inf")


def spread(points: Points) -> float:
    """How widely points lie across the line that fits them best: a standard deviation."""
    if len(points) < 2:
        return 0.0
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return float(singular[-1] / len(points) ** 0.5)


def rectangle(width: float, height: float) -> Points:
    """The corners of an upright rectangle, clockwise from the upper left."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def inside(points: Points, mapping: Map, width: float, height: float) -> NDArray[np.bool_]:
    """Which points [n, 2] lie in what an upright rectangle is mapped onto. Raises LinAlgError for a
    map that flattens."""
    back = np.linalg.solve(mapping[:, :2], (points - mapping[:, 2]).T).T
    return np.asarray(((back >= 0) & (back <= [width, height])).all(axis=1))


def bounds(corners: Points) -> NDArray[np.float64]:
    """Left, top, right and bottom of points [n, 2]."""
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """What two boxes have in common, as a part of the smaller one."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    smaller = min((one[2:] - one[:2]).prod(), (other[2:] - other[:2]).prod())
    return float(np.maximum(sides, 0).prod() / smaller) if smaller > 0 else 0.0


def clipped(
    corners: Points, width: int, height: int
) -> tuple[tuple[int, int, int, int], tuple[Point, Point, Point, Point]] | None:
    """Box (x, y, width, height) and corners in whole pixels, cut at the borders of an image.

    The box is all that the corners enclose. None when nothing of it is inside.
    """
    left, top, right, bottom = bounds(corners)
    x, y = max(0, floor(left)), max(0, floor(top))
    box_width, box_height = min(width, ceil(right)) - x, min(height, ceil(bottom)) - y
    if box_width < 1 or box_height < 1:
        return None
    inside = [
        (min(max(round(float(px)), 0), width), min(max(round(float(py)), 0), height))
        for px, py in corners
    ]
    return (x, y, box_width, box_height), (inside[0], inside[1], inside[2], inside[3])
