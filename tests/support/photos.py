"""Test images: pictures that look like photos to an encoder, in every format and mode.

Everything is deterministic: the same arguments give the same bytes with the same libraries.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

ORIENTATION_TAG: Final = 0x0112


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Uint8 RGB [height, width, 3]: a sky, hills, texture at every scale, a few hard edges."""
    rng = np.random.default_rng(seed)
    canvas = np.empty((height, width, 3), np.int16)
    ramp = np.linspace(0, 90, height, dtype=np.int16)[:, None]
    for channel, base in enumerate(rng.integers(60, 130, 3)):
        canvas[..., channel] = int(base) + (ramp if channel != 2 else 90 - ramp)
    for octave in range(2, 9):
        # No detail below four pixels, as behind a lens; noise of single pixels is no photo.
        rows, columns = (min(-(-side // 4), 2**octave) for side in (height, width))
        noise = rng.integers(0, 256, (rows, columns, 3), np.uint8)
        smooth = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        canvas += (np.asarray(smooth).astype(np.int16) - 128) // octave
    for _ in range(4):
        top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
        colour = rng.integers(0, 256, 3).astype(np.int16)
        canvas[top : top + height // 5 + 1, left : left + width // 5 + 1] = colour
    return np.clip(canvas, 0, 255).astype(np.uint8)


def photo(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """`picture` as a Pillow image of any mode; modes with alpha are transparent on the left."""
    image = Image.fromarray(picture(width, height, seed))
    if mode in ("LA", "RGBA", "PA"):
        alpha = Image.fromarray(np.linspace(0, 255, width, dtype=np.uint8)[None].repeat(height, 0))
        image = image.convert(mode[:-1] if mode != "PA" else "RGB")
        image.putalpha(alpha)
        return image
    return image.convert(mode)


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    """The image as Pillow saves it."""
    target = io.BytesIO()
    image.save(target, format_, **options)
    return target.getvalue()


def jpeg(width: int, height: int, *, seed: int = 0, quality: int = 88, **options: Any) -> bytes:
    """A baseline JPEG with 4:2:0 chroma, as cameras write it; `options` are Pillow's."""
    return encode(photo(width, height, seed), "JPEG", quality=quality, **options)


def png(width: int, height: int, *, seed: int = 0, mode: str = "RGB", **options: Any) -> bytes:
    return encode(photo(width, height, seed, mode), "PNG", compress_level=1, **options)


def webp(width: int, height: int, *, seed: int = 0, **options: Any) -> bytes:
    return encode(photo(width, height, seed), "WEBP", method=0, **options)


def avif(width: int, height: int, *, seed: int = 0, **options: Any) -> bytes:
    return encode(photo(width, height, seed), "AVIF", speed=10, **options)


def gif(width: int, height: int, *, seed: int = 0, **options: Any) -> bytes:
    return encode(photo(width, height, seed, "P"), "GIF", **options)


def frames(width: int, height: int, count: int) -> dict[str, Any]:
    """Options of `encode` that add frames up to `count` in all."""
    others = [photo(width, height, seed) for seed in range(1, count)]
    return {"save_all": True, "append_images": others, "duration": 40}


def exif(orientation: int) -> bytes:
    """An EXIF block that says nothing but an orientation."""
    block = Image.Exif()
    block[ORIENTATION_TAG] = orientation
    return block.tobytes()


def lying_down(image: Image.Image, orientation: int) -> Image.Image:
    """How a camera stores an upright picture under this orientation: the inverse of EXIF's turn."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(undo[orientation]) if orientation in undo else image


def ycck_jpeg(width: int, height: int) -> bytes:
    """CMYK as YCCK, the form that Photoshop writes."""
    cmyk = 255 - np.asarray(photo(width, height, mode="CMYK"))
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(cmyk), 90, "CMYK", "444")
    return data


def png_of(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: bytes = b"",
    extra: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG put together by hand: any depth and colour type, any chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *(png_chunk(kind, body) for kind, body in extra),
            png_chunk(b"IDAT", zlib.compress(rows, 1)),
            png_chunk(b"IEND", b""),
        )
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(width: int, height: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A PNG with 16 bits a colour, which Pillow reads and cannot write."""
    deep = picture(width, height).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    return png_of(width, height, 16, 2, rows, extra)


def deep_grey_png(width: int, height: int) -> bytes:
    """A PNG with 16 bits of grey."""
    grey = picture(width, height)[..., 0].astype(np.uint16) * 257
    return encode(Image.fromarray(grey), "PNG")


def huge_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A small file that says it is a very large picture."""
    return png_of(width, height, 8, 2)


SAMPLES: Final[dict[str, Callable[[], bytes]]] = {
    "jpeg": lambda: jpeg(160, 120),
    "jpeg progressive": lambda: jpeg(160, 120, progressive=True),
    "jpeg 4:4:4": lambda: jpeg(160, 120, subsampling=0),
    "jpeg odd size": lambda: jpeg(161, 119),
    "jpeg grey": lambda: encode(photo(160, 120, mode="L"), "JPEG"),
    "jpeg RGB": lambda: jpeg(160, 120, keep_rgb=True),
    "jpeg CMYK": lambda: encode(photo(160, 120, mode="CMYK"), "JPEG"),
    "jpeg YCCK": lambda: ycck_jpeg(160, 120),
    "png": lambda: png(160, 120),
    "png alpha": lambda: png(160, 120, mode="RGBA"),
    "png grey": lambda: png(160, 120, mode="L"),
    "png grey alpha": lambda: png(160, 120, mode="LA"),
    "png 1 bit": lambda: png(160, 120, mode="1"),
    "png palette": lambda: png(160, 120, mode="P"),
    "png palette alpha": lambda: png(160, 120, mode="P", transparency=3),
    "png grey key": lambda: png(160, 120, mode="L", transparency=90),
    "png colour key": lambda: png(160, 120, transparency=(90, 100, 110)),
    "png 1 bit key": lambda: png(160, 120, mode="1", transparency=0),
    "png 16 bit": lambda: deep_png(160, 120),
    "png 16 bit key": lambda: deep_png(160, 120, [(b"tRNS", b"\x12\x34" * 3)]),
    "png 16 bit grey": lambda: deep_grey_png(160, 120),
    "png animated": lambda: png(160, 120, **frames(160, 120, 3)),
    "webp": lambda: webp(160, 120),
    "webp lossless": lambda: webp(160, 120, lossless=True),
    "webp alpha": lambda: encode(photo(160, 120, mode="RGBA"), "WEBP", method=0),
    "webp animated": lambda: webp(160, 120, **frames(160, 120, 3)),
    "avif": lambda: avif(160, 120),
    "avif alpha": lambda: encode(photo(160, 120, mode="RGBA"), "AVIF", speed=10),
    "avif grey": lambda: encode(photo(160, 120, mode="L"), "AVIF", speed=10),
    "avif animated": lambda: avif(160, 120, **frames(160, 120, 3)),
    "gif": lambda: gif(160, 120),
    "gif transparent": lambda: gif(160, 120, transparency=3),
    "gif animated": lambda: gif(160, 120, **frames(160, 120, 3)),
}
"""Every format and mode that is taken in, about 160 x 120 pixels."""
