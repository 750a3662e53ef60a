"""Pictures that were made for this: what they show is known, because it was drawn.

What a person sees beside what was drawn is that of the photo beneath.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.recognition.pictures import Picture, photos
from models import registry
from services.logo import icons

BRANDS: Final = ("firefox", "docker", "spotify", "slack", "adobe", "gitlab")
"""Well-known marks in colours, of those that the mesh comes with."""

LISTING: Final = ("For sale: 25 EUR", "Call 0171 2345678")
CARD: Final = ("Ada Lovelace", "Analytical Engines Ltd.", "ada@example.com", "+44 20 7946 0958")
CHAT: Final = ("Hi, is it still there?", "Yes! Write me on telegram: @max_power", "See you at 5 pm")
POSTER: Final = ("SUMMER SALE", "50% OFF")
RECEIPT: Final = (
    "CORNER SHOP",
    "2 x Coffee 7.00",
    "1 x Apple cake 4.50",
    "3 x Bottled water 5.40",
    "Total 16.90",
    "Paid by card",
    "Thank you for your visit",
)
SMALL_PRINT: Final = (
    "Offer ends 31 December. Terms and conditions apply.",
    "Images are examples. Prices include sales tax.",
)


def made() -> Iterator[Picture]:
    """A dozen pictures of what marketplaces see: prices, numbers, signs, receipts, logos."""
    photo = {picture.name: picture for picture in photos()}
    marks = _marks()
    yield _over(photo["coffee.png"], "a listing", LISTING, size=34, place=(24, 300))
    yield _over(photo["flower.jpg"], "a poster", POSTER, size=72, place=(30, 20))
    yield _over(photo["china.jpg"], "small print", SMALL_PRINT, size=15, place=(12, 380))
    yield _written("a business card", CARD, size=30)
    yield _written("a receipt", RECEIPT, size=22)
    yield _written("a chat", CHAT, size=24, paper=(222, 245, 220), ink=(20, 40, 30))
    yield _written("on its side", POSTER, size=48, turn=90)
    yield _written("upside down", CARD, size=30, turn=180)
    yield Picture("blank", _encoded(Image.new("RGB", (640, 480), "white")))
    yield _with_marks(photo["chelsea.png"], "a logo on a card", {"firefox": marks["firefox"]}, True)
    yield _with_marks(
        photo["brick.png"],
        "two logos on cards",
        {name: marks[name] for name in ("docker", "spotify")},
        True,
    )
    yield _with_marks(photo["coins.png"], "a logo, bare", {"slack": marks["slack"]}, False)
    yield _with_marks(
        photo["rocket.jpg"],
        "two logos, bare",
        {name: marks[name] for name in ("adobe", "gitlab")},
        False,
    )


def _marks() -> dict[str, Image.Image]:
    """The first drawing of each of `BRANDS`, on nothing."""
    found: dict[str, Image.Image] = {}
    for brand, drawing in icons.drawings(registry.path("logo").read_bytes()):
        if brand in BRANDS:
            found.setdefault(brand, Image.fromarray(drawing, "RGBA"))
    return found


def _over(
    photo: Picture, name: str, lines: Sequence[str], *, size: int, place: tuple[int, int]
) -> Picture:
    """White letters with a black edge, over a photo."""
    image = _opened(photo)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    x, y = place
    for line in lines:
        edge = max(1, size // 16)
        draw.text((x, y), line, "white", font, stroke_width=edge, stroke_fill="black")
        y += round(size * 1.5)
    return Picture(name, _encoded(image), photo.objects, tuple(lines), photo.faint, photo.logos)


def _written(
    name: str,
    lines: Sequence[str],
    *,
    size: int,
    paper: tuple[int, int, int] = (255, 255, 255),
    ink: tuple[int, int, int] = (15, 15, 25),
    turn: int = 0,
) -> Picture:
    """Lines on paper, which is turned counter-clockwise by `turn` degrees then."""
    font = ImageFont.load_default(size)
    step, margin = round(size * 1.6), size * 2
    width = round(max(font.getlength(line) for line in lines)) + 2 * margin
    image = Image.new("RGB", (width, step * len(lines) + 2 * margin), paper)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((margin, margin + step * number), line, ink, font)
    return Picture(name, _encoded(image.rotate(turn, expand=True)), text=tuple(lines))


def _with_marks(photo: Picture, name: str, marks: dict[str, Image.Image], card: bool) -> Picture:
    """Logos over a photo, each turned a little, on a white card or on nothing."""
    image = _opened(photo)
    side = min(image.size) // 3
    for number, mark in enumerate(marks.values()):
        small = mark.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        if card:
            edge = side // 8
            board = Image.new("RGBA", (small.width + 2 * edge, small.height + 2 * edge), "white")
            board.alpha_composite(small, (edge, edge))
            small = board
        turned = small.rotate(8 - 14 * number, Image.Resampling.BICUBIC, expand=True)
        x = round(image.width * (0.08 + 0.5 * number))
        y = round(image.height * (0.15 + 0.25 * number))
        image.paste(turned, (x, y), turned)
    return Picture(name, _encoded(image), photo.objects, photo.text, photo.faint, tuple(marks))


def _opened(photo: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(photo.data))
    return Image.fromarray(np.asarray(image.convert("RGB")))


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
