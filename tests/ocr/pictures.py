"""Pictures of text, drawn with the font that is part of Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont


def written(
    *lines: str, size: int = 32, image: Image.Image | None = None, ink: str = "black"
) -> Image.Image:
    """Lines below each other on white, or on another picture."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    if image is None:
        width = round(max(font.getlength(line) for line in lines)) + 2 * size
        image = Image.new("RGB", (width, round(size * (1.6 * len(lines) + 1))), "white")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((size, round(size * (0.6 + 1.6 * row))), line, ink, font)
    return image


def columns(*texts: Sequence[str], size: int = 24, gap: int = 80) -> Image.Image:
    """Texts side by side."""
    parts = [written(*lines, size=size) for lines in texts]
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    image = Image.new("RGB", (width, max(part.height for part in parts)), "white")
    left = 0
    for part in parts:
        image.paste(part, (left, 0))
        left += part.width + gap
    return image


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    with BytesIO() as file:
        image.save(file, form, **options)
        return file.getvalue()
