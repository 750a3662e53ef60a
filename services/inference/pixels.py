"""What decides how an image's bytes become pixels, as every model's version counts it."""

from __future__ import annotations

from services.media.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES

__all__ = ["PIXEL_LIBRARIES", "PIXEL_SOURCES"]
