"""How often a photo is decoded on its way through ingest and all models: the real code, counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from services.media import pillow
from tests.contract.services import Detection, Logo, Nsfw, Ocr
from tests.contract.world import inline, world_of
from tests.support.photos import exif, jpeg, png, webp

MODELS = (Nsfw, Detection, Ocr, Logo)

PHOTOS: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "12 megapixels": (lambda: jpeg(4000, 3000), (4000, 3000)),
    "lying down": (lambda: jpeg(1800, 1200, exif=exif(6)), (1800, 1200)),
    "png": (lambda: png(1700, 1600), (1700, 1600)),
    "webp": (lambda: webp(1600, 1700), (1600, 1700)),
}
"""Photos that cannot serve as their own rendition, and their stored sizes."""


class Decodes:
    """Counts what the two libraries decode through which all pixels come, until they are undone."""

    def __init__(self, data: bytes, size: tuple[int, int], patch: pytest.MonkeyPatch) -> None:
        self.of_original = 0
        self.of_others = 0
        self._digest = hashlib.sha256(data).digest()
        jpegs, rest = simplejpeg.decode_jpeg, pillow.decode_rgb

        def decode_jpeg(data: bytes, *args: Any, **options: Any) -> Any:
            self._count(hashlib.sha256(data).digest() == self._digest)
            return jpegs(data, *args, **options)

        def decode_rgb(data: bytes, name: str, found: tuple[int, int]) -> Any:
            # These are handed over without their metadata; no rendition is of this size.
            self._count(found == size)
            return rest(data, name, found)

        patch.setattr(simplejpeg, "decode_jpeg", decode_jpeg)
        patch.setattr(pillow, "decode_rgb", decode_rgb)

    def _count(self, original: bool) -> None:
        if original:
            self.of_original += 1
        else:
            self.of_others += 1


@pytest.mark.parametrize("photo", PHOTOS)
async def test_original_is_decoded_once_for_the_rendition_and_once_for_ocr(
    photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a photo that is uploaded, and that all models are asked about, ingest decodes the original
    once and OCR once; the others decode the small rendition, once each."""
    make, size = PHOTOS[photo]
    data = make()
    async with AsyncExitStack() as stack:
        worlds = {
            kind: await stack.enter_async_context(world_of(kind(), tmp_path)) for kind in MODELS
        }
        decodes = Decodes(data, size, monkeypatch)
        (ref,) = await worlds[Nsfw].stored(data)
        assert (decodes.of_original, decodes.of_others) == (1, 0)
        for kind, world in worlds.items():
            before = decodes.of_original
            (answer,) = await world.ask(ref)
            assert answer.error is None
            assert decodes.of_original - before == (1 if kind is Ocr else 0)
        # One of each rendition, and nsfw's own pass through JPEG at 256 pixels.
        assert (decodes.of_original, decodes.of_others) == (2, 4)
        for world in worlds.values():
            (again,) = await world.ask(inline(data))
            assert again.error is None
        assert (decodes.of_original, decodes.of_others) == (2, 4)
