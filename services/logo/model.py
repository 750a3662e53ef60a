"""The model: picture in, features out. What they look like, `recognition` says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import ClassVar, Final

from services.inference.engine import Engine
from services.inference.picture import Picture, Source
from services.inference.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES
from services.inference.versioning import model_version
from services.logo import processing, sift
from services.logo.types import FeatureParameters, Features

SOURCES: Final[tuple[ModuleType, ...]] = (processing, sift, *PIXEL_SOURCES)
"""The modules that decide between an image's bytes and its features."""


class LogoModel:
    """Features of pictures on an engine: see models/cards/logo.md.

    They are the same for everybody and whatever brands there are: what is registered later is
    looked for in them without looking at the picture again.
    """

    name: ClassVar[str] = "logo"
    reads: ClassVar[Source] = "rendition"

    def __init__(
        self,
        engine: Engine,
        parameters: FeatureParameters = FeatureParameters(),  # noqa: B008 -- frozen
        labels: Sequence[str] = (),
    ) -> None:
        """`labels` are the built-in brands."""
        self.labels = tuple(labels)
        self._engine = engine
        self._parameters = parameters
        self._version = model_version(
            weights="",  # SIFT has none
            parameters=dataclasses.asdict(parameters),
            sources=SOURCES,
            libraries=(*PIXEL_LIBRARIES, "opencv-python-headless"),
            engine=engine.description,
        )

    @property
    def version(self) -> str:
        """Of the features alone: what is answered also depends on the gallery."""
        return self._version

    async def predict(self, picture: Picture) -> bytes:
        """Find the features of a picture, packed: see `processing.pack`.

        Raises CorruptImage, EngineError, ModelUnavailable.
        """
        outputs = await self._engine.infer(partial(processing.prepare, picture, self._parameters))
        return processing.pack(
            processing.postprocess(outputs),
            *processing.looked_at(picture.width, picture.height, self._parameters.max_side),
        )

    def encode(self, result: bytes) -> bytes:
        return result

    def check(self, encoded: bytes) -> None:
        processing.check_packed(encoded)

    def features(self, packed: bytes, width: int, height: int) -> Features:
        """Stored features of an image of this size, in pixels of what was looked at.

        Raises ValueError for what `check` refuses.
        """
        return processing.unpack(packed, *self.looked_at(width, height))

    def looked_at(self, width: int, height: int) -> tuple[int, int]:
        """The size at which an image of this size is looked at."""
        return processing.looked_at(width, height, self._parameters.max_side)
