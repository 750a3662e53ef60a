"""Marks of one brand that are parts of one another: which of them is there, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.inference.picture import Picture
from services.logo import gallery, geometry, kinship, processing, sift
from services.logo.comparison import Comparison
from services.logo.geometry import Map
from services.logo.marks import mark_of_drawing
from services.logo.types import FeatureParameters, MatchParameters
from tests.logo.drawings import encoded, logo, showing

SIDE = 256


def signboard(side: int) -> Image.Image:
    """The icon of a brand, and to the right of it what stands for its name: four times as wide as
    high, `side` pixels wide."""
    board = Image.new("RGBA", (4 * SIDE, SIDE))
    for place in range(4):
        board.paste(logo(10 + place, SIDE), (place * SIDE, 0))
    return board.resize((side, side // 4), Image.Resampling.LANCZOS)


ICON, BOARD = 0, 1


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """The icon of a brand, and the same icon before a name."""
    marks = [mark_of_drawing("acme", np.asarray(one)) for one in (logo(10, SIDE), signboard(SIDE))]
    return Comparison(gallery.build(marks, MatchParameters()))


def settled(image: Image.Image, compared: Comparison, mark: int, mapping: Map) -> Any:
    """The mark that is there, and the left, top and width of its place; None when none is."""
    parameters = FeatureParameters()
    grey = processing.prepare(Picture(encoded(image), *image.size), parameters)[sift.INPUT]
    features = sift.detect(grey, parameters.max_features, parameters.contrast)
    there = kinship.settled(mark, mapping, features, compared, MatchParameters())
    if there is None:
        return None
    one, where = there
    return one, (*where[:, 2], geometry.scale(where) * compared.sizes[one][0])


def placed(left: float, top: float, zoom: float) -> Map:
    return np.array([[zoom, 0, left], [0, zoom, top]])


@pytest.mark.parametrize("side", [100, 170])
@pytest.mark.parametrize("mark", [ICON, BOARD])
def test_an_icon_alone_is_not_an_icon_before_a_name(compared: Comparison, mark: int, side: int):
    """Where only the icon is there it is settled on, whichever mark of the brand it has been taken
    for."""
    image = showing((logo(10, side), 80, 90, 0))
    zoom = side / SIDE * (1 if mark == ICON else 4)
    one, place = settled(image, compared, mark, placed(80, 90, zoom))
    assert one == ICON
    assert place == pytest.approx((80, 90, side), abs=8)


@pytest.mark.parametrize("side", [360, 520])
@pytest.mark.parametrize("mark", [ICON, BOARD])
def test_an_icon_before_its_name_is_all_of_that(compared: Comparison, mark: int, side: int):
    """Where the name is there as well, it is settled on both."""
    image = showing((signboard(side), 60, 120, 0))
    zoom = side / SIDE / (4 if mark == ICON else 1)
    one, place = settled(image, compared, mark, placed(60, 120, zoom))
    assert one == BOARD
    assert place == pytest.approx((60, 120, side), abs=12)


def test_where_nothing_of_a_mark_is_seen_there_is_none(compared: Comparison):
    """Matches that agree about a place at which hardly anything of the mark is seen are chance."""
    image = showing((logo(40, 170), 80, 90, 0))
    assert settled(image, compared, BOARD, placed(80, 90, 170 / SIDE)) is None
