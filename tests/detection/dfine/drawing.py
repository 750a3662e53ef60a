"""What golden.py and the tests draw alike, from whole numbers or exactly rounded ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUERIES, KINDS = 300, 80


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """Slopes, edges and stripes of two pixels, uint8 RGB [height, width, 3]."""
    y, x, c = np.mgrid[:height, :width, :3]
    ground = (x * (c + 2) * 3 >> 2) + (y * (5 - c) >> 1)
    dx, dy = 2 * x - width, 2 * y - height
    inside = dx * dx * 4 * height * height + dy * dy * 9 * width * width < (2 * width * height) ** 2
    stripes = 40 + 60 * c + 50 * ((x ^ y) >> 1 & 1)
    pixels: NDArray[np.uint8] = (np.where(inside, stripes, ground) & 255).astype(np.uint8)
    return pixels


def outputs(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits [1, 300, 80], a few of them high, and boxes [1, 300, 4], some beyond the borders."""
    generator = np.random.Generator(np.random.PCG64(seed))
    share = generator.random((1, QUERIES, KINDS), np.float32)
    for _ in range(6):  # to its 64th power, exactly rounded each time
        share = share * share
    logits = np.float32(16) * share - np.float32(12)
    centres = generator.random((1, QUERIES, 2), np.float32) * np.float32(1.2) - np.float32(0.1)
    sizes = generator.random((1, QUERIES, 2), np.float32) * np.float32(0.6)
    return logits, np.concatenate([centres, sizes], axis=2)
