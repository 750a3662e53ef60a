"""The model: picture in, result out."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import ClassVar

from services.detection import converters, labels
from services.detection.architectures import Architecture, CenterNet
from services.detection.types import DetectionResult
from services.inference.engine import Engine
from services.inference.picture import Picture, Source
from services.inference.pixels import PIXEL_LIBRARIES
from services.inference.versioning import model_version
from services.serving import tracing


class DetectionModel:
    """A detector on an engine: see models/cards/detection.md."""

    name: ClassVar[str] = "detection"
    reads: ClassVar[Source] = "rendition"
    labels: ClassVar[tuple[str, ...]] = labels.LABELS

    def __init__(
        self,
        engine: Engine,
        weights: str,
        architecture: Architecture = CenterNet(),  # noqa: B008 -- frozen
    ) -> None:
        """`weights` is the SHA-256 of the file that `engine` runs."""
        self._engine = engine
        self._architecture = architecture
        self._version = model_version(
            weights=weights,
            parameters=dataclasses.asdict(architecture.parameters),
            sources=architecture.sources,
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
        outputs = await self._engine.infer(partial(self._architecture.prepare, picture))
        # Searching 80 heatmaps takes milliseconds: not on the event loop either.
        with tracing.span("postprocess"):
            return await asyncio.to_thread(
                self._architecture.postprocess, outputs, picture.width, picture.height
            )

    def encode(self, result: DetectionResult) -> bytes:
        return converters.encode_result(result)

    def check(self, encoded: bytes) -> None:
        converters.check_result(encoded)
