"""What decides how an image's bytes become pixels: part of every model's version."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from services.media import decode, formats, info, orientation, pillow, rendition
from services.media.formats import avif, gif, jpeg, png, webp

PIXEL_SOURCES: Final[tuple[ModuleType, ...]] = (
    decode,
    formats,
    avif,
    gif,
    jpeg,
    png,
    webp,
    info,
    orientation,
    pillow,
    rendition,
)
"""The modules between an upload and the pixels that a model sees. A test holds it complete."""

PIXEL_LIBRARIES: Final = ("pillow", "simplejpeg")
"""The distributions that decode, resize and encode."""
