"""What the nsfw model says, and what its processing is set to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NsfwResult:
    """Probability in [0, 1] that an image is not safe for work."""

    score: float


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers between an image and its score; part of the model's version.

    All but `decode_min_side` are the recipe that the weights were trained with
    (https://github.com/yahoo/open_nsfw/blob/master/classify_nsfw.py).
    """

    decode_min_side: int = 432
    """Pixels that the shorter side keeps when decoding scales: see
    docs/decisions/nsfw-decode-while-scaling.md."""
    resize_side: int = 256
    crop_side: int = 224
    jpeg_quality: int = 75
    means_bgr: tuple[float, float, float] = (104.0, 117.0, 123.0)
