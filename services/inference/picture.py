"""An image as a model gets it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded upright rendition, and the size in pixels of the upright original.

    The original may be larger: coordinates in results are those of the original.
    """

    rendition: bytes
    width: int
    height: int
