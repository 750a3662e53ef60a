"""Matches that say the same about where a mark is, and the map through all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.logo import geometry
from services.logo.geometry import Map, Points
from services.logo.types import MatchParameters

_REFINED: Final = 3
"""How often a map is fitted to what agrees with the one before."""

_AFFINE_FROM: Final = 6
"""Matches from which a map may also shear: fewer would fit noise."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Features of an image that look like those of one mark.

    `seen` and `known` are float64 [n, 4] as in `Features`, in pixels of the image and of the mark;
    `weights` float64 [n], more for what looks less like any other brand.
    """

    seen: Points
    known: Points
    weights: Points

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, indices: NDArray[Any]) -> Matches:
        return Matches(self.seen[indices], self.known[indices], self.weights[indices])


def most_agreed(matches: Matches, side: float, parameters: MatchParameters) -> NDArray[Any]:
    """Rows of the matches that agree with the one with which most agree. `side` is the mark's
    longer one."""
    seen, known = matches.seen, matches.known
    growth = seen[:, 2] / known[:, 2]
    turn = np.deg2rad(seen[:, 3] - known[:, 3])
    # [i, j]: where match i says that the keypoint of match j is.
    apart_x = known[None, :, 0] - known[:, None, 0]
    apart_y = known[None, :, 1] - known[:, None, 1]
    cosine, sine = (growth * np.cos(turn))[:, None], (growth * np.sin(turn))[:, None]
    said_x = seen[:, None, 0] + cosine * apart_x - sine * apart_y
    said_y = seen[:, None, 1] + sine * apart_x + cosine * apart_y
    off = np.hypot(said_x - seen[None, :, 0], said_y - seen[None, :, 1])
    allowed = np.maximum(parameters.min_place, parameters.place * growth * side)
    agree = off < allowed[:, None]
    agree &= np.abs(np.log(growth[None] / growth[:, None])) < np.log(parameters.growth)
    agree &= np.abs(_wrapped(turn[None] - turn[:, None])) < np.deg2rad(parameters.turn)
    best = int((agree * matches.weights[None]).sum(axis=1).argmax())
    return np.flatnonzero(agree[best])


def fit(
    matches: Matches, agreeing: NDArray[Any], side: float, parameters: MatchParameters
) -> tuple[Map, NDArray[Any]] | None:
    """The map of the mark into the image, and the rows of the matches that it is right for."""
    source, target = matches.known[:, :2], matches.seen[:, :2]
    growth = matches.seen[:, 2] / matches.known[:, 2]
    turn = np.deg2rad(matches.seen[:, 3] - matches.known[:, 3])
    mapping: Map | None = None
    for attempt in range(_REFINED):
        if len(agreeing) < parameters.min_matches:
            return None
        solve = (
            geometry.affine if attempt and len(agreeing) >= _AFFINE_FROM else geometry.similarity
        )
        mapping = solve(source[agreeing], target[agreeing])
        if mapping is None or (enlarged := geometry.scale(mapping)) < 1e-3:
            return None
        off = np.hypot(*(geometry.applied(mapping, source) - target).T)
        turned = np.arctan2(mapping[1, 0], mapping[0, 0])
        right = off < max(parameters.min_fit, parameters.fit * enlarged * side)
        right &= np.abs(np.log(growth / enlarged)) < np.log(parameters.growth)
        right &= np.abs(_wrapped(turn - turned)) < np.deg2rad(parameters.turn)
        agreeing = np.flatnonzero(right)
    if mapping is None or len(agreeing) < parameters.min_matches:
        return None
    return mapping, agreeing


def _wrapped(radians: NDArray[Any]) -> NDArray[Any]:
    """Angles in [-pi, pi)."""
    wrapped: NDArray[Any] = (radians + np.pi) % (2 * np.pi) - np.pi
    return wrapped
