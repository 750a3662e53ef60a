"""Logos that are nobody's, and photos that show them: the same for the same number everywhere."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from services.logo import gallery
from services.logo.gallery import Gallery
from services.logo.marks import mark_of_drawing
from services.logo.types import MatchParameters
from tests.support.photos import picture

SIDE = 256
BUILT_IN = ("alpha", "beta", "gamma")


def logo(number: int, side: int = SIDE) -> Image.Image:
    """A drawing on nothing, RGBA: shapes with corners, as brands have them."""
    random = np.random.default_rng(1_000 + number)
    image = Image.new("RGBA", (SIDE * 2, SIDE * 2))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((8, 8, SIDE * 2 - 8, SIDE * 2 - 8), 60, fill=_colour(random))
    for _ in range(9):
        x, y = random.integers(40, SIDE * 2 - 180, 2)
        width, height = random.integers(50, 140, 2)
        shape = draw.rectangle if random.random() < 0.5 else draw.ellipse
        shape((x, y, x + width, y + height), fill=_colour(random))
        points = random.integers(40, SIDE * 2 - 40, (3, 2))
        draw.polygon([(int(a), int(b)) for a, b in points], fill=_colour(random))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def showing(
    *placed: tuple[Image.Image, int, int, float],
    size: tuple[int, int] = (640, 480),
    seed: int = 5,
) -> Image.Image:
    """A photo with logos in it: each with its left, its top, and by how many degrees it is turned
    anticlockwise."""
    photo = Image.fromarray(picture(*size, seed))
    for image, left, top, turn in placed:
        turned = image.rotate(turn, Image.Resampling.BICUBIC, expand=True)
        photo.paste(turned, (left, top), turned)
    return photo


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    with BytesIO() as file:
        image.save(file, kind, **({"quality": 92} if kind == "JPEG" else {}))
        return file.getvalue()


def on_white(image: Image.Image, margin: int = 20) -> Image.Image:
    """What somebody would register: a logo on a white page."""
    page = Image.new("RGB", (image.width + 2 * margin, image.height + 2 * margin), "white")
    page.paste(image, (margin, margin), image)
    return page


@cache
def built_in() -> Gallery:
    """A small gallery: the brands `BUILT_IN`, which look like the logos 0, 1 and 2."""
    return gallery_of(dict(zip(BUILT_IN, range(3), strict=True)))


def gallery_of(brands: dict[str, int]) -> Gallery:
    """A gallery of drawn logos by brand."""
    marks = [mark_of_drawing(brand, np.asarray(logo(number))) for brand, number in brands.items()]
    return gallery.build(marks, MatchParameters())


def corners_of(left: int, top: int, side: int, turn: float) -> NDArray[np.float64]:
    """Where the corners of a square logo are that `showing` has placed."""
    angle = np.deg2rad(-turn)
    half = side / 2
    square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = square @ rotation.T
    # `expand` makes the picture as large as its bounding box.
    extent = np.ceil(np.abs(turned).max(axis=0))
    centred: NDArray[np.float64] = turned + extent + [left, top]
    return centred


def _colour(random: np.random.Generator) -> tuple[int, int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue, 255
