"""A photo that every machine with this repository has, and pictures that are drawn."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = Path(__file__).parent / "photos"


def photo(name: str) -> Image.Image:
    """`cat` or `astronaut`: photos/README.md says where they come from."""
    return Image.open(PHOTOS / f"{name}.jpg").convert("RGB")


def encoded(image: Image.Image | NDArray[np.uint8], quality: int = 95) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    with BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        return file.getvalue()
