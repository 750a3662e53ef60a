"""The letters that pictures are labelled with."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from PIL import ImageFont

PREFERRED: Final = (
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
"""Fonts of the system, those with the most letters first. Pillow's own has little but ASCII."""

Font = ImageFont.FreeTypeFont


class Typeface:
    """One font at any size: the first preferred one that the system has, else Pillow's own."""

    def __init__(self) -> None:
        self._found = next(filter(None, map(_of_the_system, PREFERRED)), None)
        self._at = lru_cache(maxsize=64)(self._make)

    def at(self, size: int) -> Font:
        """The font at so many pixels."""
        return self._at(size)

    def _make(self, size: int) -> Font:
        if self._found:
            return self._found.font_variant(size=size)
        font = ImageFont.load_default(size)
        assert isinstance(font, Font)  # Pillow's wheels are built with FreeType
        return font


def _of_the_system(name: str) -> Font | None:
    try:
        return ImageFont.truetype(name)
    except OSError:
        return None
