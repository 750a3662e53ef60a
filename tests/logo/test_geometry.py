"""Maps of points, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.logo import geometry

POINTS = np.array([[0, 0], [9, 1], [3, 8], [-4, 5], [6, 6], [1, -7]], np.float64)


def turned(angle: float, growth: float, x: float, y: float) -> np.ndarray:
    cosine, sine = growth * np.cos(angle), growth * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@settings(max_examples=50, deadline=None)
@given(st.floats(-3, 3), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_is_found_again(angle: float, growth: float, x: float, y: float):
    """Points that were turned, enlarged and moved say by what."""
    mapping = turned(angle, growth, x, y)
    for solve in (geometry.similarity, geometry.affine):
        found = solve(POINTS, geometry.applied(mapping, POINTS))
        assert found is not None
        np.testing.assert_allclose(found, mapping, atol=1e-6 * max(1, growth, abs(x), abs(y)))
    assert geometry.scale(mapping) == pytest.approx(growth)
    assert geometry.shear(mapping) == pytest.approx(1)


def test_similarity_is_the_best_one():
    """No map near the one that is found lies nearer to points that fit none."""
    noise = np.random.default_rng(3).normal(0, 0.5, POINTS.shape)
    target = geometry.applied(turned(0.4, 2, 5, 5), POINTS) + noise
    found = geometry.similarity(POINTS, target)
    assert found is not None
    angle, growth = np.arctan2(found[1, 0], found[0, 0]), geometry.scale(found)

    def error(mapping: np.ndarray) -> float:
        return float(((geometry.applied(mapping, POINTS) - target) ** 2).sum())

    least = error(found)
    for by in (-0.01, 0.01):
        assert error(turned(angle + by, growth, *found[:, 2])) > least
        assert error(turned(angle, growth + by, *found[:, 2])) > least
        assert error(turned(angle, growth, found[0, 2] + by, found[1, 2])) > least


def test_mirrored_and_flat_maps_enlarge_nothing():
    """A map that mirrors or flattens has no scale and an infinite shear."""
    for linear in ([[1, 0], [0, -1]], [[1, 2], [2, 4]], [[0, 0], [0, 0]]):
        mapping = np.column_stack([np.array(linear, np.float64), [0, 0]])
        assert geometry.scale(mapping) == 0
        assert geometry.shear(mapping) == float("inf")


def test_points_that_say_nothing_have_no_map():
    """Points in one place have no similarity, points on a line no affine map."""
    line = np.array([[0, 0], [1, 1], [2, 2], [3, 3]], np.float64)
    assert geometry.similarity(np.ones((4, 2)), line) is None
    assert geometry.affine(line, line) is None
    assert geometry.spread(line) == pytest.approx(0, abs=1e-9)
    assert geometry.spread(POINTS) > 1


@pytest.mark.parametrize(
    ("corners", "box", "points"),
    [
        ([[10, 20], [30, 20], [30, 50], [10, 50]], (10, 20, 20, 30), ((10, 20), (30, 20))),
        ([[-10, -5], [30, -5], [30, 50], [-10, 50]], (0, 0, 30, 50), ((0, 0), (30, 0))),
        ([[90, 70], [130, 70], [130, 90], [90, 90]], (90, 70, 10, 10), ((90, 70), (100, 70))),
        (
            [[10.2, 20.7], [12.1, 20.7], [12.1, 21], [10.2, 21]],
            (10, 20, 3, 1),
            ((10, 21), (12, 21)),
        ),
    ],
)
def test_corners_are_cut_at_the_borders(
    corners: list[list[float]], box: tuple[int, ...], points: tuple[tuple[int, int], ...]
):
    """Box and corners are whole pixels inside of an image of 100 x 80, the box all that is
    touched."""
    found = geometry.clipped(np.array(corners, np.float64), 100, 80)
    assert found is not None
    assert found[0] == box
    assert found[1][:2] == points


@pytest.mark.parametrize("offset", [(-50, 0), (0, -50), (101, 0), (0, 81)])
def test_what_is_outside_is_nowhere(offset: tuple[int, int]):
    """Corners that enclose nothing of an image are none."""
    assert geometry.clipped(geometry.rectangle(40, 40) + offset, 100, 80) is None


def test_overlap_is_of_the_smaller_box():
    """A box in another one is covered whole, boxes beside each other not at all."""
    big, small = np.array([0, 0, 100, 100.0]), np.array([10, 10, 20, 20.0])
    assert geometry.overlap(big, small) == geometry.overlap(small, big) == 1
    assert geometry.overlap(small, small + 5) == pytest.approx(0.25)
    assert geometry.overlap(small, small + 10) == 0


def test_inside_is_what_the_map_covers():
    """Points are inside exactly when the map brings them from inside of the rectangle."""
    mapping = turned(0.7, 3, 40, 20)
    known = np.random.default_rng(2).uniform(-20, 60, (200, 2))
    expected = ((known >= 0) & (known <= [40, 25])).all(axis=1)
    seen = geometry.applied(mapping, known)
    np.testing.assert_array_equal(geometry.inside(seen, mapping, 40, 25), expected)
    assert 0 < expected.sum() < 200
