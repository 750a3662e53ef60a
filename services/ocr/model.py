"""The model: picture in, result out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from services.inference.engine import Engine, Tensors
from services.inference.metrics import ModelMetrics
from services.inference.picture import Picture, Source
from services.inference.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES
from services.inference.turns import MAX_WAITING, Slots
from services.inference.versioning import model_version
from services.media.formats import jpeg
from services.media.store import BIG_PIXELS
from services.ocr import (
    arranging,
    boxes,
    converters,
    crops,
    decoding,
    processing,
    reading,
    reading_order,
    scripts,
    tiles,
)
from services.ocr.boxes import Quads
from services.ocr.processing import Page, View
from services.ocr.reading import Reader, together
from services.ocr.types import OcrResult, Parameters
from services.serving import tracing

DETECTOR: Final = "ocr-detector"
CLASSIFIER: Final = "ocr-direction"
RECOGNIZER: Final = "ocr"
"""The model's files, as the registry calls them."""

SOURCES: Final[tuple[ModuleType, ...]] = (
    arranging,
    boxes,
    crops,
    decoding,
    processing,
    reading,
    reading_order,
    tiles,
    *PIXEL_SOURCES,
)
"""The modules that decide between an image's bytes and what is read in it."""

LIBRARIES: Final = (*PIXEL_LIBRARIES, "opencv-python-headless")


def warm_up(parameters: Parameters) -> dict[str, tuple[Tensors, ...]]:
    """Inputs of a shape that each engine will see, one of many."""
    square = parameters.max_tile
    return {
        DETECTOR: (_zeros(1, square, square),),
        CLASSIFIER: (_zeros(1, crops.HEIGHT, crops.CLASSIFIED_WIDTH),),
        # All widths would take three seconds of each start, and save the first line of a width
        # some milliseconds: the widest has the arena hold what any of them needs.
        RECOGNIZER: (_zeros(1, crops.HEIGHT, max(parameters.widths)),),
    }


class OcrModel:
    """PP-OCRv6 on three engines: see models/cards/ocr.md."""

    name: ClassVar[str] = "ocr"
    reads: ClassVar[Source] = "original"
    labels: ClassVar[tuple[str, ...]] = scripts.SCRIPTS

    def __init__(
        self,
        engines: Mapping[str, Engine],
        weights: Mapping[str, str],
        parameters: Parameters = Parameters(),  # noqa: B008 -- frozen
        concurrency: int = 1,
        max_waiting: int = MAX_WAITING,
        metrics: ModelMetrics | None = None,
    ) -> None:
        """Engines, and SHA-256 of the files that they run, by the names of the registry.

        `concurrency` pictures are read at once: so many lie decoded in memory. Up to `max_waiting`
        more wait for their turn, of which `metrics` are told.
        """
        self._detector = engines[DETECTOR]
        self._reader = Reader(engines[CLASSIFIER], engines[RECOGNIZER], parameters)
        self._parameters = parameters
        metrics = metrics or ModelMetrics("")
        self._slots = Slots(concurrency, max_waiting, metrics.waited)
        metrics.queue("turns", lambda: self._slots.waiting, max_waiting)
        self._big = asyncio.Semaphore(1)
        self._version = model_version(
            weights=weights,
            parameters=dataclasses.asdict(parameters),
            sources=SOURCES,
            libraries=LIBRARIES,
            engine={file: engine.description for file, engine in engines.items()},
        )

    @property
    def version(self) -> str:
        return self._version

    async def predict(self, picture: Picture) -> OcrResult:
        """Read the lines of a picture. Raises CorruptImage, EngineError, ModelUnavailable,
        Overloaded."""
        if min(picture.width, picture.height) < self._parameters.min_readable:
            return OcrResult(())
        async with self._slots:
            with tracing.span("detect lines"):
                page, quads = await self._detect(picture)
            with tracing.span("read lines"):
                readings = await self._reader.read(page.rgb, quads * np.float32(page.scale))
        with tracing.span("postprocess"):
            return await asyncio.to_thread(
                arranging.arranged,
                quads,
                readings,
                picture.width,
                picture.height,
                self._parameters,
            )

    def encode(self, result: OcrResult) -> bytes:
        return converters.encode_result(result)

    def check(self, encoded: bytes) -> None:
        converters.check_result(encoded)

    async def _detect(self, picture: Picture) -> tuple[Page, Quads]:
        """The decoded picture, and boxes in pixels of the original, the largest first."""
        opened: list[Page] = []

        def prepare() -> Tensors:
            opened.append(processing.open_page(picture, self._parameters))
            return processing.detector_input(opened[0].views[0].pixels)

        # Where no decoder scales, a big picture takes a gigabyte for a moment.
        big = picture.width * picture.height > BIG_PIXELS
        if big:
            big = not await asyncio.to_thread(_is_jpeg, picture)
        async with self._big if big else contextlib.nullcontext():
            # Decoding travels to the engine's thread: one hop, and never more than it has workers.
            outputs = await self._detector.infer(prepare)
        (page,) = opened
        first, *others = page.views
        tall = self._parameters.tall_letters / first.scale
        found = await asyncio.to_thread(self._boxes, outputs[boxes.OUTPUT][0, 0], first)
        for view in others:
            small = await asyncio.to_thread(self._boxes, await self._searched(view), view)
            found = await asyncio.to_thread(boxes.merged, found, small, tall)
        return page, found[: crops.affordable(found, self._parameters)]

    async def _searched(self, view: View) -> NDArray[np.float32]:
        """The detector's map of a view that it sees in parts."""
        height, width = view.pixels.shape[:2]
        places = tiles.tiles(width, height, self._parameters)
        outputs = await together(
            self._detector.infer(partial(processing.detector_input, place.of(view.pixels)))
            for place in places
        )
        maps = [output[boxes.OUTPUT][0, 0] for output in outputs]
        return await asyncio.to_thread(tiles.stitched, maps, places, width, height)

    def _boxes(self, probabilities: NDArray[np.float32], view: View) -> Quads:
        return view.in_original(boxes.find_boxes(probabilities, self._parameters))


def _is_jpeg(picture: Picture) -> bool:
    return jpeg.matches(picture.data)


def _zeros(count: int, height: int, width: int) -> Tensors:
    return {processing.INPUT: np.zeros((count, 3, height, width), np.float32)}
