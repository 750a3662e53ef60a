"""The formats that are taken in, each behind its signature. Nothing else reaches a decoder."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services import errors
from services.media.formats import avif, gif, jpeg, png, webp
from services.media.info import FIELD, ImageInfo, check_bytes


class Format(Protocol):
    """One file format: a module of this package."""

    @property
    def MEDIA_TYPE(self) -> str: ...

    def matches(self, data: bytes) -> bool:
        """Whether the bytes begin with the format's signature."""
        ...

    def inspect(self, data: bytes) -> ImageInfo:
        """Read the header; decodes nothing. Raises CorruptImage, TooManyPixels."""
        ...

    def decode(
        self, data: bytes, info: ImageInfo, min_size: tuple[int, int] | None
    ) -> NDArray[np.uint8]:
        """Uint8 RGB [H, W, 3] as stored, not yet upright. Raises CorruptImage.

        With `min_size` (width, height) a format that can do so decodes to a smaller size, which is
        at least that on both sides.
        """
        ...


FORMATS: Final[tuple[Format, ...]] = (jpeg, png, webp, avif, gif)

MEDIA_TYPES: Final[tuple[str, ...]] = tuple(format_.MEDIA_TYPE for format_ in FORMATS)


def detect(data: bytes) -> Format:
    """The format of these bytes. Raises EmptyImage, ImageTooLarge, UnsupportedFormat."""
    check_bytes(data)
    for format_ in FORMATS:
        if format_.matches(data):
            return format_
    raise errors.UnsupportedFormat(
        f"{FIELD}: not one of {', '.join(MEDIA_TYPES)}",
        field=FIELD,
        limit=", ".join(MEDIA_TYPES),
    )
