"""Pictures that are the same on every machine, for golden scores and comparisons."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Every pixel at random: the worst for JPEG."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Soft patches of colour."""
    patches = Image.fromarray(noise(9, 13, seed))
    return np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))


def bodies(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Shaded ellipses in skin tones: edges, areas, and what the model finds suspicious."""
    generator = np.random.Generator(np.random.PCG64(seed))
    y, x = np.mgrid[:height, :width]
    image = np.empty((height, width, 3))
    image[:] = generator.integers(60, 220, 3)
    for _ in range(generator.integers(2, 6)):
        # No sines here: their last bits differ from machine to machine.
        dy, dx = y / height - generator.uniform(0.2, 0.8), x / width - generator.uniform(0.2, 0.8)
        a, b = generator.uniform(-1, 1, 2)
        u, v = a * dx + b * dy, a * dy - b * dx
        distance = (u / generator.uniform(0.1, 0.3)) ** 2 + (v / generator.uniform(0.1, 0.3)) ** 2
        tone = np.array((224, 172, 140)) * generator.uniform(0.8, 1.1)
        shade = np.clip(1.05 - 0.45 * distance, 0, 1.1)[..., None]
        image = np.where((distance < 1)[..., None], tone * shade, image)
    return np.clip(image, 0, 255).astype(np.uint8)


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same in three equal channels."""
    return np.repeat(image[:, :, :1], 3, axis=2)


def jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    with BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return file.getvalue()
