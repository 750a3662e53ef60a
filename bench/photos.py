"""Photos to measure with: made here, so that a figure can be had again anywhere."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from services.client.mesh import MeshClient

SOI = b"\xff\xd8"
COMMENT = b"\xff\xfe"


SCENES: Final = 24
"""Different pictures among any number of photos."""


LINES: Final = ("NEW AND UNUSED", "pick up in town, cash only", "price: 120.00", "size M, blue")
"""What photos say that say something."""


def photos(count: int, *, width: int = 1280, height: int = 960, text: bool = False) -> list[bytes]:
    """`count` JPEGs with different digests that show `SCENES` different pictures.

    With `text` each has four lines of it.
    """
    return list(each_photo(count, width=width, height=height, text=text))


def each_photo(
    count: int, *, first: int = 0, width: int = 1280, height: int = 960, text: bool = False
) -> Iterator[bytes]:
    """`photos`, one after the other: more of them than fit into memory, from the `first` on."""
    lines = LINES if text else ()
    pictures = [_scene(seed, width, height, lines) for seed in range(min(SCENES, count))]
    for number in range(first, first + count):
        yield _commented(pictures[number % len(pictures)], number)


async def upload(address: str, images: Sequence[bytes], *, concurrency: int = 8) -> list[str]:
    """Store images through the mesh; their digests in order."""
    slots = asyncio.Semaphore(concurrency)
    async with MeshClient(address) as mesh:

        async def store(image: bytes) -> str:
            async with slots:
                return (await mesh.create_image(image, timeout_s=60)).image.digest

        return await asyncio.gather(*map(store, images))


def _scene(seed: int, width: int, height: int, lines: Sequence[str]) -> bytes:
    """Soft shapes under fine grain: compresses like a photo, about 0.2 bytes a pixel."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
    shapes = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain: NDArray[np.float64] = random.normal(0, 9, (height, width, 1))
    pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.6))
    font = ImageFont.load_default(height / 24)
    for number, line in enumerate(lines):
        place = (width / 10, height * (0.5 + number / 10))
        ImageDraw.Draw(image).text(place, line, "white", font, stroke_width=2, stroke_fill="black")
    encoded = io.BytesIO()
    image.save(encoded, format="JPEG", quality=88)
    return encoded.getvalue()


def _commented(jpeg: bytes, number: int) -> bytes:
    """The same picture as other bytes: a comment after the start of the image."""
    text = f"photo {number}".encode()
    return SOI + COMMENT + (len(text) + 2).to_bytes(2, "big") + text + jpeg[len(SOI) :]
