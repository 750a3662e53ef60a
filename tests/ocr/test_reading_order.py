"""In which order lines are read."""

from __future__ import annotations

import itertools
from time import process_time

import numpy as np
import pytest

from services.ocr.reading_order import reading_order
from services.ocr.types import Corners


def line(x: int, y: int, width: int = 300, height: int = 20) -> Corners:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def turned(corners: Corners, quarters: int, side: int = 1000) -> Corners:
    """A line of a page that is turned clockwise; its corners stay those of its reader."""
    for _ in range(quarters):
        first, second, third, fourth = ((side - y, x) for x, y in corners)
        corners = (first, second, third, fourth)
    return corners


PARAGRAPH = [line(0, 30 * row) for row in range(5)]
ROW = [line(0, 2), line(320, 0), line(640, 4)]
COLUMNS = [line(0, 30 * row) for row in range(6)] + [line(400, 30 * row + 7) for row in range(6)]
TITLED = [line(0, 0, 700, 40), *(line(x, y + 80) for (x, y), *_ in COLUMNS)]
TABLE = [line(200 * column, 30 * row, 60) for row in range(6) for column in range(3)]


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize(
    "lines",
    [PARAGRAPH, ROW, COLUMNS, TITLED, TABLE],
    ids=["lines", "row", "columns", "title", "table"],
)
def test_order_of_a_page(lines: list[Corners], quarters: int):
    """Rows from top to bottom, columns of text one after the other, cells by row; as turned."""
    shuffled = np.random.default_rng(5).permutation(len(lines))
    page = [turned(lines[place], quarters) for place in shuffled]
    assert [int(shuffled[place]) for place in reading_order(page, quarters)] == list(
        range(len(lines))
    )


@pytest.mark.parametrize("step", [25, 0], ids=["even gaps", "growing gaps"])
def test_long_pages_are_ordered_in_time(step: int):
    """A thousand rows, the most that are read, are put in order at once."""
    tops = np.cumsum([step or 21 + place / 50 for place in range(1000)])
    lines = [line(0, int(top)) for top in tops]
    started = process_time()
    assert reading_order(lines, 0) == list(range(1000))
    assert process_time() - started < 5


def test_no_lines_have_an_order():
    """Nothing is in order, and one line is."""
    assert reading_order([], 0) == []
    assert reading_order([line(3, 4)], 3) == [0]


def test_every_line_is_there_once():
    """Lines that lie over each other and everywhere are neither lost nor doubled."""
    random = np.random.default_rng(1)
    lines = [
        line(int(x), int(y), int(w), int(h)) for x, y, w, h in random.integers(1, 900, (400, 4))
    ]
    assert sorted(reading_order(lines, 1)) == list(range(400))
    same = list(itertools.repeat(line(5, 5), 1000))
    assert sorted(reading_order(same, 0)) == list(range(1000))
