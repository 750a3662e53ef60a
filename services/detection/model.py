"""The model: picture in, result out."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from types import ModuleType
from typing import ClassVar, Final

import numpy as np

from services.detection import converters, labels, processing
from services.detection.types import DetectionResult, Parameters
from services.inference.engine import Engine, Tensors
from services.inference.picture import Picture, Source
from services.inference.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES
from services.inference.versioning import model_version

SOURCES: Final[tuple[ModuleType, ...]] = (processing, labels, *PIXEL_SOURCES)
"""The modules that decide between an image's bytes and what is found in it."""


def warm_up(parameters: Parameters) -> tuple[Tensors, ...]:
    """Inputs of every shape that the engine will see."""
    return ({processing.INPUT: np.zeros((1, parameters.side, parameters.side, 3), np.uint8)},)


class DetectionModel:
    """CenterNet on an engine: see models/cards/detection.md."""

    name: ClassVar[str] = "detection"
    reads: ClassVar[Source] = "rendition"
    labels: ClassVar[tuple[str, ...]] = labels.LABELS

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

    async def predict(self, picture: Picture) -> DetectionResult:
        """Find the objects of a picture.

        Raises CorruptImage, EngineError, ModelUnavailable.
        """
        # Decoding and preprocessing travel to the engine's thread: one hop, and back.
        outputs = await self._engine.infer(partial(processing.prepare, picture, self._parameters))
        # Searching 80 heatmaps takes milliseconds: not on the event loop either.
        return await asyncio.to_thread(
            processing.postprocess, outputs, picture.width, picture.height, self._parameters
        )

    def encode(self, result: DetectionResult) -> bytes:
        return converters.encode_result(result)

    def check(self, encoded: bytes) -> None:
        converters.check_result(encoded)
