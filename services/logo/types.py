"""What is known of logos, what processing is set to, and what may be asked of a result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Logo:
    """One logo: its brand, how sure the model is in [0, 1], and where it is.

    Box and corners are in pixels of the upright original and inside of it. The four corners go
    clockwise from where the upper left one is when the logo stands upright.
    """

    brand: str
    score: float
    x: int
    y: int
    width: int
    height: int
    corners: tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class LogoResult:
    """The logos of one image, the surest first."""

    logos: tuple[Logo, ...]


@dataclass(frozen=True, slots=True)
class Features:
    """Keypoints of an image or of a mark, the strongest first.

    `points` is float32 [n, 4]: x, y and diameter in pixels, and the direction in degrees clockwise
    from the right, in [0, 360). `descriptors` is uint8 [n, 128].
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)

    def take(self, indices: NDArray[Any] | slice) -> Features:
        """Some of them."""
        return Features(self.points[indices], self.descriptors[indices])


@dataclass(frozen=True, slots=True)
class Mark:
    """One picture of a logo: whose it is, its size in pixels, and its features."""

    brand: str
    width: float
    height: float
    features: Features


@dataclass(frozen=True, slots=True)
class Brand:
    """A brand that a tenant's images are compared with.

    A built-in one that the tenant has registered a further mark for has a date too.
    """

    name: str
    built_in: bool
    registered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What of a result is asked for; part of no result and of no version.

    At least `min_score`, of `brands` (empty: all), and at most `max_results` (0: all).
    """

    min_score: float = 0.0
    brands: frozenset[str] = frozenset()
    max_results: int = 0


@dataclass(frozen=True, slots=True)
class FeatureParameters:
    """Numbers between an image and its features; part of the features' version."""

    max_side: int = 1024
    """Pixels of the longer side that is looked at."""
    max_features: int = 1500
    """Features that are kept, the strongest: 136 bytes each."""
    contrast: float = 0.02
    """Below, a keypoint is noise. OpenCV's own is 0.04: marks that are printed pale need less."""


@dataclass(frozen=True, slots=True)
class MarkParameters:
    """Numbers between the picture of a logo and its features; part of every gallery's revision."""

    side: int = 256
    """Pixels of the longer side at which a mark is looked at."""
    margin: int = 24
    """Pixels of background around it, for the keypoints on its outline."""
    max_features: int = 150
    """On each background."""
    contrast: float = 0.04
    same_place: float = 1.5
    same_descriptor: float = 120.0
    """Pixels and distance within which the feature on one background is that on the other."""


@dataclass(frozen=True, slots=True)
class MatchParameters:
    """Numbers between features and logos; part of every gallery's revision."""

    neighbours: int = 8
    """Nearest features of the gallery that are looked at for each of an image."""
    lists: int = 1024
    probes: int = 8
    """The gallery is divided into so many lists, of which so many are searched."""
    max_ratio: float = 0.88
    """A match is this much nearer than the nearest feature of another brand. Far looser than the
    usual 0.75 to 0.8: what agrees about the place of the logo is what decides."""
    twin: float = 150.0
    """Features of the gallery nearer to each other than this look alike: marks that share a part.
    The descriptor's length is about 512."""
    place: float = 0.08
    min_place: float = 3.0
    """How far off, as a part of the logo's longer side and in pixels at least, a match may be from
    where another match says that it is."""
    turn: float = 25.0
    growth: float = 1.65
    """By how many degrees and which factor two matches may disagree about the logo."""
    fit: float = 0.03
    min_fit: float = 2.0
    """The same as `place` once all that agree have been fitted."""
    min_matches: int = 4
    """Different keypoints that must agree. Three points fit any triangle."""
    min_spread: float = 0.05
    """How wide they lie across, as a part of the logo's shorter side: points on a line say nothing
    about what is beside it."""
    max_shear: float = 2.0
    """How much longer a square may become in one direction than in the other."""
    min_side: float = 10.0
    """Pixels of the looked-at picture that the longer side of a logo has at least."""
    min_covered: float = 0.3
    """Parts of a mark, along its longer side, in which something of it is seen at least. See
    `kinship`."""
    covered_fit: float = 0.04
    covered_distance: float = 300.0
    """How far off, as `fit`, and how unlike a feature may be that is where the map says."""
    min_weight: float = 1.4
    """What the matches weigh together; below, it is chance. See `matching.score`."""
    max_overlap: float = 0.4
    """Part of the smaller of two boxes that both may cover: beyond, the weaker one is left out."""
    own_weight: float = 0.7
    """A tenant's own mark goes before another one in its place from this part of its weight on."""
    max_logos: int = 100
