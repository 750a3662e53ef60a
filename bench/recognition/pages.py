"""Pages of text whose every line is known, drawn with whatever fonts there are."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.recognition.legibility import lowest_contrast

Colour = tuple[int, int, int]

LINES: Final = (
    "The quick brown fox jumps over the lazy dog",
    "Call +49 30 901820 or write to info@example.org",
    "Invoice No. 2024-0815: EUR 1,299.50 incl. 19% VAT",
    "SALE 50% OFF TODAY ONLY",
    "https://shop.example.com/cart?id=42",
    "Pack my box with five dozen liquor jugs.",
    "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich",
    "Portez ce vieux whisky au juge blond qui fume",
    "Terms & conditions apply (see page 7)",
    "Monday to Friday, 9:00 - 17:30",
    "It is a truth universally acknowledged",
    "DO NOT ENTER",
    "WhatsApp: 0176 5551234",
    "El veloz murciélago hindú comía feliz cardillo",
)

COLOURS: Final[dict[str, tuple[Colour, Colour]]] = {
    "black on white": ((0, 0, 0), (255, 255, 255)),
    "white on blue": ((255, 255, 255), (20, 40, 110)),
    "yellow on grey": ((250, 220, 40), (90, 90, 95)),
    "red on beige": ((190, 20, 30), (240, 228, 205)),
}

Font = ImageFont.FreeTypeFont


@dataclass(frozen=True, slots=True)
class Drawn:
    """A line as it was drawn: what it says, left, top, right and bottom of its ink, and how much
    that of its characters stands out that does so least (see `legibility`): as black on white where
    nothing else is said, and where it has an edge, which is what is around it then."""

    text: str
    box: tuple[int, int, int, int]
    contrast: float = 21.0


@dataclass(frozen=True, slots=True)
class Sheet:
    """A picture, and the lines on it."""

    image: Image.Image
    lines: tuple[Drawn, ...]


def encoded(image: Image.Image) -> bytes:
    """A picture as PNG, as it is."""
    with io.BytesIO() as file:
        image.save(file, "PNG", compress_level=1)
        return file.getvalue()


def fonts(folders: Sequence[Path]) -> Iterator[Path]:
    """The font files below some folders."""
    for folder in folders:
        yield from sorted([*folder.rglob("*.ttf"), *folder.rglob("*.otf")])


def page(
    font: Font,
    lines: Sequence[str] = LINES,
    colours: str = "black on white",
    spacing: float = 1.6,
) -> Sheet:
    """Lines `spacing` times their size below each other, on one colour, with a frame around."""
    ink, ground = COLOURS[colours]
    size = round(font.size)
    width = max(round(font.getlength(line)) for line in lines) + 4 * size
    image = Image.new("RGB", (width, round(size * (spacing * len(lines) + 4))), ground)
    draw = ImageDraw.Draw(image)
    return Sheet(
        image,
        tuple(
            write(draw, font, line, (2 * size, round(size * (2 + spacing * row))), ink)
            for row, line in enumerate(lines)
        ),
    )


def large_page(font: Font, count: int) -> Sheet:
    """A white page of A4 at 300 dots an inch, with few lines of one font far apart."""
    image = Image.new("RGB", (2480, 3508), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    drawn = []
    for row in range(count):
        place = (150 + 250 * (row % 4), 200 + (row * 3000) // count)
        drawn.append(write(draw, font, LINES[row % len(LINES)], place, (0, 0, 0)))
    return Sheet(image, tuple(drawn))


def write(
    draw: ImageDraw.ImageDraw,
    font: Font,
    text: str,
    place: tuple[int, int],
    ink: Colour,
    edge: Colour | None = None,
) -> Drawn:
    """One line, with an `edge` around its letters if there is a colour for it."""
    stroke = max(1, round(font.size / 16)) if edge else 0
    draw.text(place, text, ink, font, stroke_width=stroke, stroke_fill=edge)
    left, top, right, bottom = draw.textbbox(place, text, font, stroke_width=stroke)
    return Drawn(text, (int(left), int(top), int(right), int(bottom)))


def over_photo(
    photo: Image.Image, font: Font, lines: Sequence[str], seed: int, outlined: bool
) -> Sheet:
    """As many of these lines as fit over a photo: with an edge, white around black or black around
    white, or plain, black or white, whichever differs more from what is beneath."""
    random = np.random.default_rng(seed)
    image = photo.copy()
    draw = ImageDraw.Draw(image)
    drawn: list[Drawn] = []
    height = round(font.size * 1.8)
    tops = random.permutation(np.arange(4, max(5, image.height - height), height))
    for number, (text, top) in enumerate(zip(lines, tops, strict=False)):
        width = round(font.getlength(text))
        free = image.width - width - 8
        if free < 0:
            continue
        place = (4 + int(random.integers(0, free + 1)), int(top))
        beneath = image.crop((*place, place[0] + width, place[1] + height))
        dark = number % 2 == 0 if outlined else np.asarray(beneath, np.float64).mean() >= 128
        black, white = (0, 0, 0), (255, 255, 255)
        ink, edge = (black, white) if dark else (white, black)
        line = write(draw, font, text, place, ink, edge if outlined else None)
        if not outlined:
            reach = max(1, round(font.size / 8))
            line = replace(line, contrast=lowest_contrast(image, font, text, place, reach))
        drawn.append(line)
    return Sheet(image, tuple(drawn))


def textures(side: int = 512) -> Iterator[tuple[str, Image.Image]]:
    """Pictures without any letter that look most like writing: stripes, checks, noise, bars."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[:side, :side]

    def picture(values: NDArray[np.float64]) -> Image.Image:
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")

    yield "noise", picture(random.uniform(0, 255, (side, side)))
    yield (
        "blurred noise",
        Image.fromarray(random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        ),
    )
    yield (
        "blocks",
        Image.fromarray(random.integers(0, 256, (side // 16, side // 16, 3), np.uint8)).resize(
            (side, side), Image.Resampling.NEAREST
        ),
    )
    for period in (4, 8, 16, 32, 64):
        yield f"bars {period}", picture((x % period < period / 2) * 255.0)
        yield f"checks {period}", picture(((x // period + y // period) % 2) * 255.0)
        yield f"waves {period}", picture(128 + 127 * np.sin(2 * np.pi * (x + 0.3 * y) / period))
        yield (
            f"rings {period}",
            picture(128 + 127 * np.sin(2 * np.pi * np.hypot(x - side / 2, y - side / 2) / period)),
        )
    widths = random.integers(1, 5, side)
    code = np.repeat(np.arange(side) % 2, widths)[:side] * 255.0
    yield "bar code", picture(np.where((y > side / 3) & (y < 2 * side / 3), code[x], 255.0))
    grid = random.integers(0, 2, (29, 29)) * 255.0
    yield "matrix code", picture(np.kron(grid, np.ones((side // 32, side // 32))))
    yield "gradient", picture((x + y) * 255.0 / (2 * side))
