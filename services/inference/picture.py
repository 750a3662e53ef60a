"""An image as a model gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Source: TypeAlias = Literal["rendition", "original"]
"""What of an image a model reads: the picture that is small and upright, or the bytes that came."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a model reads of an image, encoded, and the size in pixels of the upright original.

    `data` is the upright rendition, or for a model that reads them the original's own bytes, which
    its header may have turned upright. The original may be larger than the rendition: coordinates
    in results are those of the upright original.
    """

    data: bytes
    width: int
    height: int
