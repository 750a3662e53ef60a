"""Renditions: what models look at."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from services import errors
from services.media.decode import decode_rgb, inspect
from services.media.rendition import MAX_SIDE, make_rendition, rendition_size
from tests.support import photos


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1536, 1024), (1536, 1024)),
        ((1537, 1024), (1536, 1023)),
        ((1024, 2048), (768, 1536)),
        ((4000, 3000), (1536, 1152)),
        ((20_000, 3), (1536, 1)),
        ((3, 2), (3, 2)),
    ],
)
@pytest.mark.parametrize("encode", [photos.jpeg, photos.png])
def test_size(encode, size: tuple[int, int], expected: tuple[int, int]):
    """The long side is at most 1536 pixels, nothing is enlarged, no side vanishes."""
    info, rendition = make_rendition(encode(*size))
    assert (info.width, info.height) == size
    assert rendition_size(info) == expected
    made = inspect(rendition)
    assert made.media_type == "image/jpeg"
    assert (made.width, made.height) == expected
    assert max(expected) <= MAX_SIDE


@pytest.mark.parametrize("name", photos.SAMPLES)
def test_every_mode_has_one(name: str):
    """Every format and mode becomes an upright RGB JPEG of the same picture."""
    data = photos.SAMPLES[name]()
    _, rendition = make_rendition(data)
    assert Image.open(io.BytesIO(rendition)).mode in ("RGB", "L")
    smooth = [
        np.asarray(Image.fromarray(decode_rgb(image)).resize((20, 15), Image.Resampling.BOX))
        for image in (data, rendition)
    ]
    assert np.abs(smooth[0].astype(int) - smooth[1]).mean() < 4


@pytest.mark.parametrize(
    "name", ["jpeg", "jpeg progressive", "jpeg 4:4:4", "jpeg odd size", "jpeg grey", "jpeg RGB"]
)
def test_small_upright_jpeg_serves_itself(name: str):
    """An upright JPEG within 1536 pixels is not encoded again: the very object comes back."""
    data = photos.SAMPLES[name]()
    assert make_rendition(data)[1] is data


def test_what_cannot_serve_itself_is_stripped():
    """A made rendition carries no metadata: no EXIF, no profile, no comment."""
    data = photos.jpeg(
        64, 64, exif=photos.exif(6), icc_profile=b"profile" * 100, comment=b"where I live"
    )
    _, rendition = make_rendition(data)
    for secret in (b"Exif", b"profile", b"where I live", b"ICC_PROFILE"):
        assert secret in data
        assert secret not in rendition


def test_damage_is_found_in_what_serves_itself():
    """A JPEG that would be its own rendition is read to its end first."""
    data = photos.jpeg(640, 480)
    with pytest.raises(errors.CorruptImage):
        make_rendition(data[: len(data) * 9 // 10])


def test_is_close_to_the_best_there_is():
    """Scaled decoding, bicubic and JPEG together stay near a full decode with Lanczos."""
    data = photos.jpeg(4000, 3000, quality=92)
    best = np.asarray(
        Image.fromarray(decode_rgb(data)).resize((1536, 1152), Image.Resampling.LANCZOS)
    )
    made = decode_rgb(make_rendition(data)[1])
    error = np.mean((made.astype(float) - best) ** 2)
    assert 10 * np.log10(255**2 / error) > 38


def test_recipe_makes_the_pixels_it_made():
    """Nobody changes a pixel without noticing: who means to puts the new hash here."""
    whole = hashlib.sha256()
    for data in (
        photos.png(200, 150, mode="RGBA"),
        photos.jpeg(2200, 1500, subsampling=0),
        photos.jpeg(300, 200, exif=photos.exif(6)),
    ):
        rendition = make_rendition(data)[1]
        assert make_rendition(data)[1] == rendition
        whole.update(decode_rgb(rendition).tobytes())
    assert whole.hexdigest()[:16] == "28e725f73be74ce2"
