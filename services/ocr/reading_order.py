"""In which order a person reads the lines of a page.

A recursive X-Y cut (Nagy and Seth 1984), which takes columns apart only where they hold running
text: the cells of a table are read row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from services.ocr.types import Corners

MIN_COLUMN_LINES: Final = 3
"""Lines on both sides of a gap that makes columns. A guess."""

MIN_COLUMN_ASPECT: Final = 4.5
"""Median width by height of the lines of a column: about ten letters; cells are shorter. A
guess."""

SAME_ROW: Final = 0.5
"""Of the lower line's height, how much two lines of one row overlap at least."""


class Extent(NamedTuple):
    """An upright rectangle around a line, turned as the page is read; and the line's place."""

    left: float
    top: float
    right: float
    bottom: float
    place: int


def reading_order(lines: Sequence[Corners], turn: int) -> list[int]:
    """Places of the lines, whose page is read `turn` quarters clockwise from left to right."""
    return [extent.place for extent in _ordered([_extent(*one, turn) for one in enumerate(lines)])]


def _extent(place: int, corners: Corners, turn: int) -> Extent:
    points = np.array(corners, np.float64)
    for _ in range(turn % 4):
        points = np.stack([points[:, 1], -points[:, 0]], axis=1)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return Extent(left, top, right, bottom, place)


def _ordered(extents: list[Extent]) -> list[Extent]:
    """The order within a block."""
    blocks = [extents]
    done: list[Extent] = []
    while blocks:
        block = blocks.pop()
        if parts := _columns(block) or _halves(block):
            blocks += reversed(parts)
        else:
            done += _rows(block)
    return done


def _columns(block: list[Extent]) -> list[list[Extent]]:
    """The two sides of a gap between columns of running text, if there is one."""
    if len(block) < 2 * MIN_COLUMN_LINES:
        return []
    gap = float(np.median([one.bottom - one.top for one in block]))
    for left, right in _cuts(sorted(block, key=lambda one: one.left), 0, 2, gap):
        if _is_column(left) and _is_column(right):
            return [left, right]
    return []


def _is_column(block: list[Extent]) -> bool:
    if len(block) < MIN_COLUMN_LINES:
        return False
    aspects = [(one.right - one.left) / max(one.bottom - one.top, 1.0) for one in block]
    return float(np.median(aspects)) >= MIN_COLUMN_ASPECT


def _halves(block: list[Extent]) -> list[list[Extent]]:
    """Above and below of the largest gap across a block, if there is one."""
    by_top = sorted(block, key=lambda one: one.top)
    best: list[list[Extent]] = []
    widest = 0.0
    for above, below in _cuts(by_top, 1, 3, 0.0):
        size = below[0].top - max(one.bottom for one in above)
        if size > widest:
            best, widest = [above, below], size
    return best


def _cuts(
    block: list[Extent], start: int, end: int, gap: float
) -> list[tuple[list[Extent], list[Extent]]]:
    """All ways to part a block, sorted along one axis, at a gap that is wider than `gap`."""
    reached = block[0][end] if block else 0.0
    found = []
    for place in range(1, len(block)):
        if block[place][start] - reached > gap:
            found.append((block[:place], block[place:]))
        reached = max(reached, block[place][end])
    return found


def _rows(block: list[Extent]) -> list[Extent]:
    """From top to bottom, and those of one row from left to right."""
    rows: list[list[Extent]] = []
    for extent in sorted(block, key=lambda one: one.top + one.bottom):
        if rows and _share_row(rows[-1][0], extent):
            rows[-1].append(extent)
        else:
            rows.append([extent])
    return [extent for row in rows for extent in sorted(row, key=lambda one: one.left)]


def _share_row(one: Extent, other: Extent) -> bool:
    common = min(one.bottom, other.bottom) - max(one.top, other.top)
    return common > SAME_ROW * min(one.bottom - one.top, other.bottom - other.top)
