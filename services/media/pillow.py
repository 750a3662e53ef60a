"""Pillow as a decoder: one named format, one frame, errors that are ours, upright nothing.

What is handed to it has been stripped to the parts that make pixels, so that none of its readers of
metadata runs.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services import errors
from services.media.info import check_pixels, corrupt

_WHITE: Final = (255, 255, 255)


def decode_rgb(data: bytes, name: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The first frame as uint8 RGB [H, W, 3], alpha on white, orientation ignored.

    `name` is Pillow's name of the format, `size` what our own reader found in the header. Raises
    CorruptImage; Overloaded when there is no memory for it.
    """
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            if image.size != size:
                raise corrupt()
            image.load()
            return np.asarray(_flat(image))
    except errors.VisionmeshError:
        raise
    except MemoryError as error:
        raise errors.Overloaded("not enough memory to decode the image") from error
    except Exception as error:
        # Its decoders raise whatever they stumble over: OSError, SyntaxError, struct.error,
        # ValueError, TypeError, EOFError, zlib.error, OverflowError, DecompressionBombError.
        raise corrupt() from error


def read_size(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Width, height, frames and EXIF orientation by Pillow's own header reader, nothing decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            check_pixels(*image.size)
            orientation = image.getexif().get(0x0112, 1)
            return *image.size, int(getattr(image, "n_frames", 1)), int(orientation)
    except errors.VisionmeshError:
        raise
    except Exception as error:
        raise corrupt() from error


def _flat(image: Image.Image) -> Image.Image:
    """Any mode that the five formats have, as RGB."""
    if image.mode.startswith("I"):
        # 16 bits of grey in 32 or 16: Pillow's own conversion clips at 255, the high byte is meant.
        key = image.info.get("transparency")
        deep = np.asarray(image)
        grey = (deep >> 8).astype(np.uint8)
        if isinstance(key, int):
            grey[deep == key] = 255
        image = Image.fromarray(grey)
    if image.mode in ("LA", "PA", "La", "RGBa", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        return flat
    return image.convert("RGB")
