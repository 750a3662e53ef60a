"""Whatever bytes come, only domain errors come out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.errors import InvalidArgument
from services.limits import MAX_IMAGE_PIXELS
from services.media.decode import decode_rgb, inspect
from services.media.orientation import read_orientation
from services.media.rendition import make_rendition
from tests.support import photos

SEEDS = {name: build() for name, build in photos.SAMPLES.items()}
SEEDS |= {
    "jpeg turned": photos.jpeg(40, 30, exif=photos.exif(6)),
    "webp turned": photos.webp(40, 30, exif=photos.exif(6)),
    "avif turned": photos.avif(40, 30, exif=photos.exif(6)),
}
SIGNATURES = [b"", *sorted({data[:16] for data in SEEDS.values()})]

examine = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def look(data: bytes) -> None:
    """Do everything that is done to an upload."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on the damage
        try:
            info = inspect(data)
            assert 1 <= info.pixels <= MAX_IMAGE_PIXELS
            assert info.frames >= 1
            assert 1 <= info.orientation <= 8
            if info.pixels > 1_000_000:
                return  # a mutated size: allowed, and slow
            pixels = decode_rgb(data, min_side=16)
            assert pixels.dtype == np.uint8
            _, rendition = make_rendition(data)
            assert decode_rgb(rendition).ndim == 3
        except InvalidArgument:
            return


@examine
@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_arbitrary_bytes(signature: bytes, data: bytes):
    """Any bytes, also behind a format's own beginning, are an image or a domain error."""
    look(signature + data)


@pytest.mark.parametrize("name", SEEDS)
@examine
@given(st.data())
def test_mutated_images(name: str, data: st.DataObject):
    """An image with bytes changed, cut out or doubled is an image or a domain error."""
    mutated = bytearray(SEEDS[name])
    # Headers are small and matter most, so half of all changes hit the first 200 bytes.
    places = st.one_of(st.integers(0, 200), st.integers(0, len(mutated) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(places)
        match data.draw(st.sampled_from(["byte", "cut", "double", "zeros", "ones"])):
            case "byte":
                mutated[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "cut":
                del mutated[at : at + data.draw(st.integers(1, 64))]
            case "double":
                mutated[at:at] = mutated[at : at + data.draw(st.integers(1, 64))]
            case "zeros":
                mutated[at : at + 4] = bytes(4)
            case _:
                mutated[at : at + 4] = b"\xff" * 4
    look(bytes(mutated))


@examine
@given(st.sampled_from([b"", b"II*\0", b"MM\0*", b"Exif\0\0II*\0\x08\0\0\0"]), st.binary())
def test_any_exif_has_an_orientation(start: bytes, data: bytes):
    """Any block of metadata says 1 to 8."""
    assert 1 <= read_orientation(start + data) <= 8
