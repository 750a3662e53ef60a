"""Where labels go: near what they name, off each other and off what else there is to see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

Rectangle = tuple[int, int, int, int]
"""Left, upper, right and lower border."""

Size = tuple[int, int]

LABEL_COST: Final = 8.0
"""How much worse it is to cover a label than to cover a place (a guess)."""

OWN_COST: Final = 0.5
"""How bad it is to cover what is named: outside is better when there is room (a guess)."""

STEPS: Final = 6
"""How often a label is moved along its place to look for room."""


class Layout:
    """Puts labels into an area, one after the other; earlier ones stay where they are."""

    def __init__(self, area: Size, places: Sequence[Rectangle]) -> None:
        self._area = area
        self._places = places
        self._taken: list[Rectangle] = []

    def put(self, size: Size, place: Rectangle) -> Rectangle:
        """Where a label of this size goes that names what is at `place`."""
        at = min(self._candidates(size, place), key=lambda spot: self._cost(spot, place))
        self._taken.append(at)
        return at

    def _candidates(self, size: Size, place: Rectangle) -> Iterator[Rectangle]:
        """The best first, as of equal ones the first is taken: above, below, inside, beside."""
        (width, height), (left, upper, right, lower) = size, place
        for x in (left, right - width):
            yield self._inside(x, upper - height, size)
            yield self._inside(x, lower, size)
        for step in range(STEPS):
            y = upper + step * max(height, (lower - upper - height) // STEPS)
            yield self._inside(left, y, size)
            yield self._inside(right, y, size)
            yield self._inside(left - width, y, size)
        for step in range(1, STEPS):
            yield self._inside(left, upper - (step + 1) * height, size)
            yield self._inside(left, lower + step * height, size)

    def _inside(self, x: int, y: int, size: Size) -> Rectangle:
        """Moved into the area, as far as it fits there."""
        x = max(0, min(x, self._area[0] - size[0]))
        y = max(0, min(y, self._area[1] - size[1]))
        return x, y, x + size[0], y + size[1]

    def _cost(self, spot: Rectangle, place: Rectangle) -> float:
        """In pixels that are covered or that lie between."""
        labels = sum(overlap(spot, other) for other in self._taken)
        # What is around the place is covered wherever the label goes near it.
        others = sum(overlap(spot, other) for other in self._places if not _is_around(other, place))
        between = _gap(spot, place) * (spot[2] - spot[0])
        return LABEL_COST * labels + others + between + OWN_COST * overlap(spot, place)


def _is_around(other: Rectangle, place: Rectangle) -> bool:
    return (
        other[0] <= place[0]
        and other[1] <= place[1]
        and other[2] >= place[2]
        and other[3] >= place[3]
    )


def _gap(one: Rectangle, other: Rectangle) -> int:
    """Pixels between two rectangles, along the axis on which they are further apart."""
    across = max(one[0] - other[2], other[0] - one[2], 0)
    down = max(one[1] - other[3], other[1] - one[3], 0)
    return max(across, down)


def overlap(one: Rectangle, other: Rectangle) -> int:
    """Pixels that two rectangles have in common."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)
