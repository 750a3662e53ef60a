"""Post-processing said again, one pixel and one column at a time and without a trick."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def decode(
    probabilities: NDArray[Any], characters: tuple[str, ...], min_space: float
) -> list[tuple[str, float]]:
    """Greedy CTC, with a space where one is likely enough between two characters."""
    found = []
    for line in probabilities:
        text, scores, before = "", [], 0
        for column in line:
            best = int(np.argmax(column))
            if best == 0:
                if column[-1] >= min_space and text:
                    text += " "
            elif best != before:
                text += characters[best]
                scores.append(float(column[best]))
            before = best
        words = [word for word in text.split(" ") if word]
        found.append((" ".join(words), sum(scores) / len(scores) if scores else 0.0))
    return found


def mean_within(probabilities: NDArray[Any], quad: NDArray[Any]) -> float:
    """The mean of the pixels whose place no edge of a clockwise quadrilateral leaves outside."""
    values = []
    for y in range(probabilities.shape[0]):
        for x in range(probabilities.shape[1]):
            sides = []
            for one, other in zip(quad, np.roll(quad, -1, axis=0), strict=True):
                along = other - one
                sides.append(along[0] * (y - one[1]) - along[1] * (x - one[0]))
            if min(sides) >= 0:
                values.append(probabilities[y, x])
    return float(np.mean(values))


def grown(points: NDArray[Any], distance: float) -> NDArray[Any]:
    """A rectangle's corners after each edge moved outwards by this distance."""
    moved = []
    for place in range(4):
        before, corner, after = points[place - 1], points[place], points[(place + 1) % 4]
        one = (corner - before) / np.linalg.norm(corner - before)
        other = (corner - after) / np.linalg.norm(corner - after)
        moved.append(corner + distance * (one + other))
    return np.array(moved)
