"""Which sources decide how an image's bytes become pixels: model versions hash them."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from services.media import decode, formats, orientation, pillow, rendition
from services.media.formats import avif, gif, jpeg, png, webp

SOURCES: Final[tuple[ModuleType, ...]] = (
    decode,
    formats,
    avif,
    gif,
    jpeg,
    png,
    webp,
    orientation,
    pillow,
    rendition,
)
"""Every module of this package between bytes and pixels; a test follows the imports."""

LIBRARIES: Final[tuple[str, ...]] = ("pillow", "simplejpeg")
"""The distributions whose version decides it too."""
