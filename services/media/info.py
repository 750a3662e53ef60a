"""What an image's header says, and the limits that it must keep before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services import errors
from services.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS

FIELD: Final = "data"
"""What errors about an image's bytes call them."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as its header describes it.

    `width` and `height` are pixels of the upright image, after `orientation` (EXIF's 1 to 8) was
    applied. `frames` counts those of an animation, of which only the first is looked at.
    """

    media_type: str
    width: int
    height: int
    orientation: int = 1
    frames: int = 1

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as they are encoded, before orientation."""
        return _turned(self.width, self.height, self.orientation)

    @property
    def pixels(self) -> int:
        return self.width * self.height


def describe(
    media_type: str, width: int, height: int, orientation: int = 1, frames: int = 1
) -> ImageInfo:
    """The info of an image that is encoded with this width and height.

    Raises TooManyPixels, and CorruptImage when it has no pixels at all.
    """
    check_pixels(width, height)
    return ImageInfo(media_type, *_turned(width, height, orientation), orientation, frames)


def check_bytes(data: bytes) -> None:
    """Raises EmptyImage, ImageTooLarge."""
    if not data:
        raise errors.EmptyImage(f"{FIELD}: no bytes", field=FIELD)
    if len(data) > MAX_IMAGE_BYTES:
        raise errors.ImageTooLarge(
            f"{FIELD}: {len(data)} bytes, at most {MAX_IMAGE_BYTES}",
            field=FIELD,
            limit=f"{MAX_IMAGE_BYTES} bytes",
        )


def check_pixels(width: int, height: int) -> None:
    """Raises TooManyPixels, and CorruptImage when there are none."""
    if width < 1 or height < 1:
        raise corrupt("has no pixels")
    if width * height > MAX_IMAGE_PIXELS:
        raise errors.TooManyPixels(
            f"{FIELD}: {width} x {height} pixels, at most {MAX_IMAGE_PIXELS} in all",
            field=FIELD,
            limit=f"{MAX_IMAGE_PIXELS} pixels",
        )


def corrupt(what: str = "is truncated or corrupt") -> errors.CorruptImage:
    """The error of an image that is one of the formats and cannot be decoded."""
    return errors.CorruptImage(f"{FIELD}: the image {what}", field=FIELD)


def too_intricate(what: str, limit: int) -> errors.UnsupportedFormat:
    """The error of an image whose parts are so many that walking them is the attack."""
    return errors.UnsupportedFormat(
        f"{FIELD}: more than {limit} {what}", field=FIELD, limit=f"{limit} {what}"
    )


def _turned(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if orientation >= 5 else (width, height)
