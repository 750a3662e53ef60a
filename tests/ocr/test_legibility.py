"""The rule by which the recognition bench tells letters that a person can read from others."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw, ImageFont

from bench.recognition.legibility import lowest_contrast

FONT = ImageFont.load_default(32)
PLACE = (20, 10)
REACH = 4


def written(ground: int, ink: int, last: int | None = None) -> Image.Image:
    """A word in grey on grey; below its last letters the ground may be another one."""
    image = Image.new("L", (240, 60), ground)
    if last is not None:
        image.paste(last, (PLACE[0] + round(FONT.getlength("mixed ")), 0, 240, 60))
    draw = ImageDraw.Draw(image)
    draw.text(PLACE, "mixed up", ink, FONT)
    return image.convert("RGB")


@pytest.mark.parametrize(
    ("ground", "ink", "ratio"), [(255, 0, 21.0), (0, 255, 21.0), (255, 118, 4.5), (90, 90, 1.0)]
)
def test_contrast_is_that_of_wcag(ground: int, ink: int, ratio: float):
    """Letters and what is around them are told apart as WCAG's examples say, but for the smoothed
    borders of the letters, which count as neither."""
    found = lowest_contrast(written(ground, ink), FONT, "mixed up", PLACE, REACH)
    assert found == pytest.approx(ratio, rel=0.12)


def test_letters_that_cannot_be_seen_decide():
    """A line that is black on white is not legible when its last letters are black on black."""
    image = written(255, 0, last=0)
    assert lowest_contrast(image, FONT, "mixed up", PLACE, REACH) < 1.5
