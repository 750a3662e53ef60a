"""In which order a person reads the lines of a page.

A recursive X-Y cut (Nagy and Seth 1984), which takes columns apart only where they hold running
text: the cells of a table are read row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from services.ocr.types import Corners

MIN_COLUMN_LINES: Final = 3
"""Lines on both sides of a gap that makes columns. A guess."""

MIN_COLUMN_ASPECT: Final = 4.5
"""Median width by height of the lines of a column: about ten letters; cells are shorter. A
guess."""

AS_WIDE: Final = 0.9
"""Of the widest gap across a block, from which on others part it too. A guess."""

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
        if parts := _columns(block) or _bands(block):
            blocks += reversed(parts)
        else:
            done += _rows(block)
    return done


def _columns(block: list[Extent]) -> list[list[Extent]]:
    """The two sides of a gap between columns of running text, if there is one."""
    if len(block) < 2 * MIN_COLUMN_LINES:
        return []
    wide = float(np.median([one.bottom - one.top for one in block]))
    by_left = sorted(block, key=lambda one: one.left)
    for place, gap in _gaps([(one.left, one.right) for one in by_left]):
        left, right = by_left[:place], by_left[place:]
        if gap > wide and _is_column(left) and _is_column(right):
            return [left, right]
    return []


def _is_column(block: list[Extent]) -> bool:
    if len(block) < MIN_COLUMN_LINES:
        return False
    aspects = [(one.right - one.left) / max(one.bottom - one.top, 1.0) for one in block]
    return float(np.median(aspects)) >= MIN_COLUMN_ASPECT


def _bands(block: list[Extent]) -> list[list[Extent]]:
    """What is above, between and below of the widest gaps across a block, if there are any."""
    by_top = sorted(block, key=lambda one: one.top)
    gaps = _gaps([(one.top, one.bottom) for one in by_top])
    if not gaps:
        return []
    widest = max(gap for _, gap in gaps)
    places = [0, *(place for place, gap in gaps if gap >= AS_WIDE * widest), len(by_top)]
    return [by_top[start:end] for start, end in pairwise(places)]


def _gaps(spans: list[tuple[float, float]]) -> list[tuple[int, float]]:
    """Where nothing is between spans that are sorted by their start: before which, how wide."""
    reached = spans[0][1] if spans else 0.0
    found = []
    for place, (start, end) in enumerate(spans):
        if start > reached:
            found.append((place, start - reached))
        reached = max(reached, end)
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
