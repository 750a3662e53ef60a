"""Whether a person can read what was drawn: a rule about the picture, which asks no model.

A letter is told from what is beneath by its contrast. The ratio is that of WCAG 2.2
(https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio): 1 for black on black, 21 for black on white.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MIN_CONTRAST: Final = 3.0
"""What WCAG asks at least, for large letters, signs and symbols (1.4.3, 1.4.11)."""

FAINT_CONTRAST: Final = 1.5
"""With good eyes and some patience (a guess): black on a grey of 44 of 255."""

INK: Final = 200
"""Of 255, from which on a pixel is a letter's and not its smoothed border's."""


def lowest_contrast(
    image: Image.Image,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    text: str,
    place: tuple[int, int],
    reach: int,
) -> float:
    """The ratio of that character which differs least from the pixels up to `reach` around it.

    `image` shows the text, drawn at `place`.
    """
    box = ImageDraw.Draw(image).textbbox(place, text, font)
    left, top, right, bottom = (round(edge) for edge in box)
    frame = (left - reach - 1, top - reach - 1, right + reach + 1, bottom + reach + 1)
    seen = luminance(np.asarray(image.crop(frame)))
    start = (place[0] - frame[0], place[1] - frame[1])
    written = _mask(seen.shape, font, text, start)
    lowest = 21.0
    for number, character in enumerate(text):
        if character.isspace():
            continue
        begins = start[0] + font.getlength(text[:number])
        mask = _mask(seen.shape, font, character, (begins, start[1]))
        around = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
        beside = seen[around & (written == 0)]
        ink = seen[mask >= min(INK, mask.max())]
        if beside.size:
            lowest = min(lowest, ratio(float(ink.mean()), float(beside.mean())))
    return lowest


def ratio(one: float, other: float) -> float:
    """Of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative, in [0, 1], of sRGB [H, W, 3]."""
    part = rgb / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    bright: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return bright


def _mask(
    shape: tuple[int, ...],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    text: str,
    place: tuple[float, float],
) -> NDArray[np.uint8]:
    """How much of each pixel letters cover, of 255."""
    mask = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(mask).text(place, text, 255, font)
    return np.asarray(mask)
