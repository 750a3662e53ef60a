"""From what a tenant has registered to marks: checked once, found again by every replica."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import zipfile
from types import ModuleType
from typing import Final

import numpy as np

from services import errors
from services.brands.manifest import OwnBrand
from services.brands.store import BrandStore
from services.fingerprint import fingerprint
from services.inference.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES
from services.logo import marks, sift
from services.logo.marks import mark_of_picture
from services.logo.types import Features, Mark, MarkParameters
from services.media.decode import decode_rgb, inspect
from services.media.store import ImageStore

SOURCES: Final[tuple[ModuleType, ...]] = (marks, sift, *PIXEL_SOURCES)

MIN_SIDE: Final = 32
"""Pixels of the shorter side of a picture: below, nothing is there to be recognized (a guess)."""

MIN_FEATURES: Final = 12
"""Features that a picture has at least. Four have to agree; a third of them are found again on a
good photo (docs/recognition.md)."""

_AT_ONCE: Final = 2
"""Pictures that are looked at at a time: registering must not stand in the way of recognizing."""

_HASH_BYTES: Final = 32


class OwnMarks:
    """Marks of registered brands, found once and kept beside their pictures."""

    def __init__(
        self,
        store: BrandStore,
        images: ImageStore,
        parameters: MarkParameters = MarkParameters(),  # noqa: B008 -- frozen
    ) -> None:
        """`images` bounds how much is decoded at once."""
        self._store = store
        self._images = images
        self._parameters = parameters
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.revision = fingerprint(
            sources=SOURCES,
            libraries=(*PIXEL_LIBRARIES, "opencv-python-headless"),
            parameters=dataclasses.asdict(parameters),
        )

    async def find(self, name: str, picture: bytes) -> Mark:
        """The mark that a picture shows.

        Raises UnusablePicture, and for what is no picture at all EmptyImage, ImageTooLarge,
        UnsupportedFormat, CorruptImage, TooManyPixels.
        """
        try:
            info = await asyncio.to_thread(inspect, picture)
            if min(info.width, info.height) < MIN_SIDE:
                raise errors.UnusablePicture(
                    f"picture: {info.width} x {info.height} pixels, "
                    f"at least {MIN_SIDE} are needed in both directions",
                    field="picture",
                    limit=f"{MIN_SIDE} pixels",
                )
            _, rendition = await self._images.render(picture)
            async with self._slots:
                mark = await asyncio.to_thread(self._look, name, rendition)
        except errors.UnusablePicture:
            raise
        except errors.InvalidArgument as error:
            message = error.message.replace(f"{error.field}: ", "picture: ", 1)
            raise type(error)(message, field="picture", limit=error.limit) from error
        if len(mark.features) < MIN_FEATURES:
            raise errors.UnusablePicture(
                f"picture: it has {len(mark.features)} points by which it could be recognized, "
                f"at least {MIN_FEATURES} are needed; what is transparent counts as white",
                field="picture",
                limit=f"{MIN_FEATURES} points",
            )
        return mark

    async def keep(self, tenant: str, brand: OwnBrand, mark: Mark) -> None:
        """Keep a mark for the replicas that come to need it. It can be found again."""
        await self._store.keep_features(tenant, brand, self.revision, encode(mark))

    async def load(self, tenant: str, brand: OwnBrand) -> Mark:
        """The mark of a registered brand, found anew where it is not kept.

        Raises StoreUnavailable when its picture is not there either.
        """
        kept = await self._store.features(tenant, brand, self.revision)
        if kept is not None:
            try:
                return decode(brand.name, kept)
            except ValueError:
                pass  # cut off by a crash: found again
        picture = await self._store.picture(tenant, brand)
        if picture is None:
            raise errors.StoreUnavailable(
                f"the picture of the brand {brand.name!r} cannot be read; "
                "if that stays so, delete and register it again"
            )
        _, rendition = await self._images.render(picture)
        async with self._slots:
            mark = await asyncio.to_thread(self._look, brand.name, rendition)
        await self.keep(tenant, brand, mark)
        return mark

    def _look(self, name: str, rendition: bytes) -> Mark:
        return mark_of_picture(
            name, decode_rgb(rendition, min_side=self._parameters.side), self._parameters
        )


def encode(mark: Mark) -> bytes:
    """A mark without its brand: SHA-256 of the rest, and its arrays as NumPy's npz."""
    arrays = io.BytesIO()
    np.savez(
        arrays,
        size=np.array([mark.width, mark.height]),
        points=mark.features.points,
        descriptors=mark.features.descriptors,
    )
    data = arrays.getvalue()
    return hashlib.sha256(data).digest() + data


def decode(brand: str, encoded: bytes) -> Mark:
    """Raises ValueError for bytes that `encode` did not make."""
    data = encoded[_HASH_BYTES:]
    if hashlib.sha256(data).digest() != encoded[:_HASH_BYTES]:
        raise ValueError("kept features are not what was kept")
    try:
        with np.load(io.BytesIO(data)) as arrays:
            width, height = arrays["size"]
            features = Features(arrays["points"], arrays["descriptors"])
            return Mark(brand, float(width), float(height), features)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError("kept features are none") from error
