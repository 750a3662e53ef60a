"""The model: picture in, result out."""

from __future__ import annotations

import dataclasses
from functools import partial
from types import ModuleType
from typing import ClassVar, Final

import numpy as np

from services.inference.engine import Engine, Tensors
from services.inference.picture import Picture, Source
from services.inference.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES
from services.inference.versioning import model_version
from services.nsfw import converters, processing
from services.nsfw.types import NsfwResult, Parameters
from services.serving import tracing

SOURCES: Final[tuple[ModuleType, ...]] = (processing, *PIXEL_SOURCES)
"""The modules that decide between an image's bytes and its score."""


def warm_up(parameters: Parameters) -> tuple[Tensors, ...]:
    """Inputs of every shape that the engine will see."""
    side = parameters.crop_side
    return ({processing.INPUT: np.zeros((1, side, side, 3), np.float32)},)


class NsfwModel:
    """Open NSFW on an engine: see models/cards/nsfw.md."""

    name: ClassVar[str] = "nsfw"
    reads: ClassVar[Source] = "rendition"
    labels: ClassVar[tuple[str, ...]] = ("sfw", "nsfw")

    def __init__(
        self,
        engine: Engine,
        weights: str,
        parameters: Parameters = Parameters(),  # noqa: B008 -- frozen
    ) -> None:
        """`weights` is the SHA-256 of the file that `engine` runs."""
        self._engine = engine
        self._parameters = parameters
        self._version = model_version(
            weights=weights,
            parameters=dataclasses.asdict(parameters),
            sources=SOURCES,
            libraries=PIXEL_LIBRARIES,
            engine=engine.description,
        )

    @property
    def version(self) -> str:
        return self._version

    async def predict(self, picture: Picture) -> NsfwResult:
        """Score a picture.

        Raises CorruptImage, EngineError, ModelUnavailable.
        """
        # Reading, decoding and preprocessing travel to the engine's thread: one hop, and back.
        outputs = await self._engine.infer(partial(self._prepare, picture))
        with tracing.span("postprocess"):
            return processing.postprocess(outputs)

    def _prepare(self, picture: Picture) -> Tensors:
        return processing.prepare(picture.data, self._parameters)

    def encode(self, result: NsfwResult) -> bytes:
        return converters.encode_result(result)

    def check(self, encoded: bytes) -> None:
        converters.check_result(encoded)
