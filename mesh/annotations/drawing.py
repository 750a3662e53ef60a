"""An image and what was seen in it make a picture for people. Nothing here waits or reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mesh.annotations.layout import Layout
from mesh.annotations.places import Place
from mesh.annotations.strip import Strip, draw_strip
from mesh.annotations.typeface import Font, Typeface

COLOURS: Final = {"detection": "#1558b0", "ocr": "#00695c", "logo": "#7b1fa2"}
"""By model. White is readable on each of them (contrast of 5 or more)."""

OTHER: Final = "#424242"
EVIDENCE: Final = "#b3001b"
"""Of what a verdict rests on, whichever model saw it."""

MIN_SIDE: Final = 600
"""What is smaller is enlarged by a whole factor: its labels would hide it otherwise."""

MAX_SIDE: Final = 4096
"""What is larger is reduced: more pixels than screens have, and memory for them."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is drawn: places in pixels of the upright original, and what stands below it."""

    places: Sequence[Place]
    strip: Strip


def draw(pixels: NDArray[np.uint8], annotations: Annotations, typeface: Typeface) -> Image.Image:
    """A copy of upright pixels (uint8 RGB [H, W, 3]) with all places, and a strip below it."""
    picture = Image.fromarray(pixels)
    scale = scale_of(picture.size)
    if scale != 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    text_size = text_size_of(picture.size)
    _draw_places(picture, _scaled(annotations.places, scale, picture.size), text_size, typeface)
    return draw_strip(picture, annotations.strip, typeface.at(text_size), COLOURS)


def scale_of(size: tuple[int, int]) -> float:
    """By how much a picture of this size is enlarged or reduced."""
    longest = max(size)
    if longest > MAX_SIDE:
        return MAX_SIDE / longest
    return float(math.ceil(MIN_SIDE / longest)) if longest < MIN_SIDE else 1.0


def text_size_of(size: tuple[int, int]) -> int:
    """Pixels from line to line, nearly, for a picture of this size."""
    return max(13, round(math.sqrt(size[0] * size[1]) / 45))


def colour_of(place: Place) -> str:
    return EVIDENCE if place.reasons else COLOURS.get(place.model, OTHER)


def label_of(place: Place) -> str:
    """What is written at a place: what it is, and which reasons it is evidence for."""
    return f"{', '.join(place.reasons)}: {place.label}" if place.reasons else place.label


def _scaled(places: Sequence[Place], scale: float, size: tuple[int, int]) -> list[Place]:
    """In pixels of the picture that is drawn on, with the last ones on it still."""

    def moved(x: int, y: int) -> tuple[int, int]:
        return min(size[0] - 1, round(x * scale)), min(size[1] - 1, round(y * scale))

    return [
        replace(place, corners=tuple(moved(*corner) for corner in place.corners))
        for place in places
    ]


def _draw_places(
    picture: Image.Image, places: Sequence[Place], text_size: int, typeface: Typeface
) -> None:
    canvas = ImageDraw.Draw(picture)
    width = max(3, round(text_size / 6))
    # What the verdict rests on is drawn last, so that nothing lies on it, and labelled first, so
    # that it has the best spots.
    for place in sorted(places, key=lambda place: bool(place.reasons)):
        _outline(canvas, place, width)
    layout = Layout(picture.size, [place.bounds for place in places])
    for place in sorted(places, key=lambda place: not place.reasons):
        _label(canvas, place, layout, picture.width, typeface.at(_label_size(place, text_size)))


def _outline(canvas: ImageDraw.ImageDraw, place: Place, width: int) -> None:
    """A line on the place's border, with a thin white one around it for dark ground."""
    around = [*place.corners, place.corners[0], place.corners[1]]  # past the start: a whole corner
    canvas.line(around, fill="white", width=width + 2, joint="curve")
    canvas.line(around, fill=colour_of(place), width=width, joint="curve")


def _label(
    canvas: ImageDraw.ImageDraw, place: Place, layout: Layout, most: int, font: Font
) -> None:
    ascent, descent = font.getmetrics()
    padding = max(2, ascent // 6)
    text = fitting(label_of(place), font, most - 2 * padding)
    size = (math.ceil(font.getlength(text)) + 2 * padding, ascent + descent + padding)
    spot = layout.put(size, place.bounds)
    canvas.rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), fill=colour_of(place))
    canvas.text((spot[0] + padding, spot[1] + padding // 2), text, fill="white", font=font)


def _label_size(place: Place, text_size: int) -> int:
    """Text in small print is repeated in small print, or a page would vanish under its labels."""
    if place.model != "ocr" or place.reasons:
        return text_size
    _, upper, _, lower = place.bounds
    return max(10, min(text_size, round((lower - upper) * 0.7)))


def fitting(text: str, font: Font, width: float) -> str:
    """As much of one line of text as fits into `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
