"""What the detection model says, what its processing is set to, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: what it is, how sure the model is in [0, 1], and its box.

    The box is in pixels of the upright original and inside of it: all that it touches.
    """

    label: str
    score: float
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """The objects of one image, the surest first."""

    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What of a result is asked for; part of no result and of no version.

    At least `min_score`, of `labels` (empty: all), and at most `max_results` (0: all).
    """

    min_score: float = 0.0
    labels: frozenset[str] = frozenset()
    max_results: int = 0


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers between an image and CenterNet's result; part of the model's version."""

    side: int = 512
    """Pixels of the square that the model looks at."""
    stride: int = 4
    """Of these pixels, what one cell of the heatmap stands for."""
    min_score: float = 0.05
    """Below is noise: of thousands of peaks in every picture."""
    max_peaks: int = 1000
    """Peaks that may become detections, the highest first."""
    max_iou: float = 0.4
    """Intersection over union from which a box is a better one of the same kind, once more. The
    value of those who published the graph."""
    max_detections: int = 100


@dataclass(frozen=True, slots=True)
class DFineParameters:
    """Numbers between an image and D-FINE's result; part of the model's version."""

    side: int = 640
    """Pixels of the square that the model was trained on, and looks at."""
    min_score: float = 0.05
    """Not above is noise. Of CenterNet's value: a guess until photos have been looked at."""
    max_detections: int = 100
    """As many as of CenterNet."""
