"""What the contract suite must know of each model service: a small adapter for each.

A new model service adds one class here, and its name to `SERVICES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from string import ascii_lowercase
from typing import Any, ClassVar, Protocol

import grpc
import numpy as np

from services import catalog
from services.detection import dfine
from services.detection import processing as detecting
from services.detection.architectures import Architecture, CenterNet, DFine
from services.detection.model import DetectionModel
from services.detection.servicer import DetectionServicer
from services.errors import VisionmeshError
from services.inference.engine import Engine, Tensors, TensorSpec
from services.inference.fake import FakeEngine
from services.inference.turns import MAX_WAITING
from services.logo import engine as sift_engine
from services.logo import sift
from services.logo.model import LogoModel
from services.media.objects import Objects
from services.media.store import ImageStore
from services.nsfw.model import NsfwModel
from services.nsfw.processing import INPUT, OUTPUT
from services.nsfw.servicer import NsfwServicer
from services.ocr import boxes, decoding
from services.ocr import processing as looking
from services.ocr.model import CLASSIFIER, DETECTOR, RECOGNIZER, OcrModel
from services.ocr.reading import FLIPPED
from services.ocr.servicer import OcrServicer
from services.results.results import Results
from services.serving.dataplane import DataPlane
from services.serving.diagnostics import Diagnostics
from services.serving.model_process import ServedModel
from services.serving.model_process import describe as described
from services.serving.server import Register
from services.serving.status import from_status
from tests.logo.drawings import built_in
from tests.logo.world import Parts
from visionmesh.common.v1.geometry_pb2 import Box
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.detection.v1 import detection_pb2
from visionmesh.detection.v1.detection_pb2_grpc import (
    DetectionServiceStub,
    add_DetectionServiceServicer_to_server,
)
from visionmesh.logo.v1 import logo_pb2
from visionmesh.logo.v1.logo_pb2_grpc import LogoServiceStub, add_LogoServiceServicer_to_server
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2_grpc import NsfwServiceStub, add_NsfwServiceServicer_to_server
from visionmesh.ocr.v1 import ocr_pb2
from visionmesh.ocr.v1.ocr_pb2_grpc import OcrServiceStub, add_OcrServiceServicer_to_server

Metadata = tuple[tuple[str, str], ...]

CONCURRENCY = 4
"""Inferences at a time, as many as `VISIONMESH_INFERENCE_WORKERS` would say."""

BATCH_SIZE = 8
"""Of the services whose graphs take several images."""

AT_ONCE = 2 * BATCH_SIZE * CONCURRENCY
"""Images of one call that are worked on at a time, as a service's process has it for these."""


@dataclass(frozen=True)
class Answer:
    """One outcome as any of the services gives it; `result` is the message's bytes."""

    digest: str
    model_version: str
    size: tuple[int, int]
    result: bytes | None
    error: VisionmeshError | None


class ModelService(Protocol):
    """One model service, as the suite drives it."""

    process: ClassVar[catalog.Process]
    inputs: ClassVar[Sequence[TensorSpec]]
    outputs: ClassVar[Sequence[TensorSpec]]
    impossible: ClassVar[bytes]
    """A well-formed result that the model cannot have given."""
    derived: ClassVar[bool]
    """Whether answers are derived from what the model makes, which is stored as well: an answer
    that is lost costs no inference then."""
    batch_size: ClassVar[int | None]
    """Pictures that one inference takes; None where the model itself says who is next."""
    max_waiting: int
    """Pictures that may wait for the model."""

    def answer(self, inputs: Tensors) -> Tensors:
        """Well-formed outputs that differ from image to image."""
        ...

    def is_dark(self, inputs: Tensors) -> bool:
        """Whether these inputs are those of a black image."""
        ...

    async def register(
        self,
        engine: Engine,
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics,
    ) -> Register: ...

    async def ask(
        self,
        channel: grpc.aio.Channel,
        refs: Sequence[ImageRef],
        timeout_s: float,
        metadata: Metadata,
        version: str,
    ) -> list[Answer]: ...

    async def describe(self, channel: grpc.aio.Channel, metadata: Metadata) -> Model: ...


def answer_of(outcome: Any) -> Answer:
    """Every service's outcome message has these fields."""
    failed = outcome.WhichOneof("outcome") == "error"
    return Answer(
        digest=outcome.digest,
        model_version=outcome.model_version,
        size=(outcome.image_size.width, outcome.image_size.height),
        result=None if failed else outcome.result.SerializeToString(),
        error=from_status(outcome.error) if failed else None,
    )


def about_of(model: ServedModel[Any]) -> Model:
    """What a model's process would say of it."""
    return described(
        name=model.name,
        version=model.version,
        labels=model.labels,
        description="A model",
        license="CC0-1.0",
    )


class Nsfw:
    """The nsfw service."""

    process: ClassVar[catalog.Process] = catalog.BY_NAME["nsfw"]
    inputs: ClassVar[Sequence[TensorSpec]] = (
        TensorSpec(INPUT, np.dtype(np.float32), (None, 224, 224, 3)),
    )
    outputs: ClassVar[Sequence[TensorSpec]] = (TensorSpec(OUTPUT, np.dtype(np.float32), (None, 2)),)
    impossible: ClassVar[bytes] = nsfw_pb2.NsfwResult(score=1.5).SerializeToString()
    derived: ClassVar[bool] = False
    batch_size: ClassVar[int | None] = BATCH_SIZE
    max_waiting: int = MAX_WAITING

    def answer(self, inputs: Tensors) -> Tensors:
        score = np.float32(inputs[INPUT].mean() / 1000 + 0.5)
        return {OUTPUT: np.array([[1 - score, score]], np.float32)}

    def is_dark(self, inputs: Tensors) -> bool:
        return bool(inputs[INPUT].mean() < -100)

    async def register(
        self,
        engine: Engine,
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics,
    ) -> Register:
        model = NsfwModel(engine, "0" * 64)
        about = about_of(model)
        plane = DataPlane(model, images, results, diagnostics, at_once=AT_ONCE)
        servicer = NsfwServicer(plane, about)
        return partial(add_NsfwServiceServicer_to_server, servicer)

    async def ask(
        self,
        channel: grpc.aio.Channel,
        refs: Sequence[ImageRef],
        timeout_s: float,
        metadata: Metadata,
        version: str,
    ) -> list[Answer]:
        request = nsfw_pb2.ClassifyRequest(images=refs, model_version=version)
        response = await NsfwServiceStub(channel).Classify(
            request, timeout=timeout_s, metadata=metadata
        )
        return [answer_of(outcome) for outcome in response.outcomes]

    async def describe(self, channel: grpc.aio.Channel, metadata: Metadata) -> Model:
        request = nsfw_pb2.GetModelRequest()
        return (await NsfwServiceStub(channel).GetModel(request, metadata=metadata)).model


class Detection:
    """The detection service."""

    architecture: ClassVar[Architecture] = CenterNet()
    process: ClassVar[catalog.Process] = catalog.BY_NAME["detection"]
    inputs: ClassVar[Sequence[TensorSpec]] = (CenterNet().input,)
    outputs: ClassVar[Sequence[TensorSpec]] = CenterNet.outputs
    impossible: ClassVar[bytes] = detection_pb2.DetectionResult(
        detections=[detection_pb2.Detection(label="unicorn", score=0.5, box=Box(width=1, height=1))]
    ).SerializeToString()
    derived: ClassVar[bool] = False
    batch_size: ClassVar[int | None] = BATCH_SIZE
    max_waiting: int = MAX_WAITING

    def answer(self, inputs: Tensors) -> Tensors:
        heat = np.zeros((1, 80, 128, 128), np.float32)
        heat[0, 15, 64, 64] = 0.1 + inputs[detecting.INPUT].mean() / 300
        reach = np.full((1, 4, 128, 128), 40, np.float32)
        return {detecting.HEAT: heat, detecting.REACH: reach}

    def is_dark(self, inputs: Tensors) -> bool:
        return bool(inputs[detecting.INPUT].max() < 10)

    async def register(
        self,
        engine: Engine,
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics,
    ) -> Register:
        model = DetectionModel(engine, "0" * 64, self.architecture)
        plane = DataPlane(model, images, results, diagnostics, at_once=AT_ONCE)
        servicer = DetectionServicer(plane, about_of(model))
        return partial(add_DetectionServiceServicer_to_server, servicer)

    async def ask(
        self,
        channel: grpc.aio.Channel,
        refs: Sequence[ImageRef],
        timeout_s: float,
        metadata: Metadata,
        version: str,
    ) -> list[Answer]:
        request = detection_pb2.DetectRequest(images=refs, model_version=version)
        response = await DetectionServiceStub(channel).Detect(
            request, timeout=timeout_s, metadata=metadata
        )
        return [answer_of(outcome) for outcome in response.outcomes]

    async def describe(self, channel: grpc.aio.Channel, metadata: Metadata) -> Model:
        request = detection_pb2.GetModelRequest()
        return (await DetectionServiceStub(channel).GetModel(request, metadata=metadata)).model


class DetectionByDFine(Detection):
    """The detection service with its other architecture."""

    architecture: ClassVar[Architecture] = DFine()
    inputs: ClassVar[Sequence[TensorSpec]] = (DFine().input,)
    outputs: ClassVar[Sequence[TensorSpec]] = DFine.outputs

    def answer(self, inputs: Tensors) -> Tensors:
        logits = np.full((1, 300, 80), -20, np.float32)
        logits[0, 0, 15] = inputs[dfine.INPUT].mean() * 4 - 2
        return {dfine.LOGITS: logits, dfine.BOXES: np.full((1, 300, 4), 0.5, np.float32)}

    def is_dark(self, inputs: Tensors) -> bool:
        return bool(inputs[dfine.INPUT].max() < 0.04)


class Ocr:
    """The OCR service; the suite's engine is its detector, beside which two others read."""

    process: ClassVar[catalog.Process] = catalog.BY_NAME["ocr"]
    inputs: ClassVar[Sequence[TensorSpec]] = (
        TensorSpec(looking.INPUT, np.dtype(np.float32), (None, 3, None, None)),
    )
    outputs: ClassVar[Sequence[TensorSpec]] = (
        TensorSpec(boxes.OUTPUT, np.dtype(np.float32), (None, 1, None, None)),
    )
    impossible: ClassVar[bytes] = ocr_pb2.OcrResult(text="of no line").SerializeToString()
    derived: ClassVar[bool] = False
    batch_size: ClassVar[int | None] = None
    max_waiting: int = MAX_WAITING

    def answer(self, inputs: Tensors) -> Tensors:
        image = inputs[looking.INPUT]
        heat = np.zeros((1, 1, *image.shape[2:]), np.float32)
        heat[..., 24:-24, 24:-24] = 0.6 + image.mean() / 4
        return {boxes.OUTPUT: heat}

    def is_dark(self, inputs: Tensors) -> bool:
        return bool(inputs[looking.INPUT].max() < -0.9)

    async def register(
        self,
        engine: Engine,
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics,
    ) -> Register:
        engines: dict[str, Engine] = {
            DETECTOR: engine,
            CLASSIFIER: _upright(),
            RECOGNIZER: _brightness(),
        }
        for other in (engines[CLASSIFIER], engines[RECOGNIZER]):
            await other.load()
        model = OcrModel(
            engines,
            dict.fromkeys(engines, "0" * 64),
            concurrency=CONCURRENCY,
            max_waiting=self.max_waiting,
        )
        plane = DataPlane(model, images, results, diagnostics)
        return partial(add_OcrServiceServicer_to_server, OcrServicer(plane, about_of(model)))

    async def ask(
        self,
        channel: grpc.aio.Channel,
        refs: Sequence[ImageRef],
        timeout_s: float,
        metadata: Metadata,
        version: str,
    ) -> list[Answer]:
        request = ocr_pb2.ReadRequest(images=refs, model_version=version)
        response = await OcrServiceStub(channel).Read(request, timeout=timeout_s, metadata=metadata)
        return [answer_of(outcome) for outcome in response.outcomes]

    async def describe(self, channel: grpc.aio.Channel, metadata: Metadata) -> Model:
        request = ocr_pb2.GetModelRequest()
        return (await OcrServiceStub(channel).GetModel(request, metadata=metadata)).model


def _upright() -> FakeEngine:
    """A classifier to which no line is upside down."""
    inputs = (TensorSpec(looking.INPUT, np.dtype(np.float32), (None, 3, 48, 192)),)
    return FakeEngine(
        inputs,
        (),
        lambda tensors: {FLIPPED: np.tile(np.array([[1, 0]], np.float32), (len(tensors["x"]), 1))},
    )


def _brightness() -> FakeEngine:
    """A recognizer that says how bright a line is: another letter and another score for each."""

    def answer(tensors: Tensors) -> Tensors:
        lines = tensors[looking.INPUT]
        said = np.zeros((len(lines), lines.shape[3] // 8, 28), np.float32)
        for place, line in enumerate(lines):
            bright = (float(line.mean()) + 1) / 2
            said[place, :, decoding.BLANK] = 1
            said[place, 0] = 0
            said[place, 0, 1 + round(25 * bright)] = 0.5 + bright / 3
        return {decoding.OUTPUT: said}

    inputs = (TensorSpec(looking.INPUT, np.dtype(np.float32), (None, 3, 48, None)),)
    return FakeEngine(
        inputs, (), answer, metadata={decoding.CHARACTERS: "\n".join(ascii_lowercase)}
    )


class Logo:
    """The logo service, with the small gallery of its own tests."""

    process: ClassVar[catalog.Process] = catalog.BY_NAME["logo"]
    inputs: ClassVar[Sequence[TensorSpec]] = sift_engine.INPUTS
    outputs: ClassVar[Sequence[TensorSpec]] = sift_engine.OUTPUTS
    impossible: ClassVar[bytes] = logo_pb2.LogoResult(
        logos=[logo_pb2.Logo(brand="alpha", score=0.5, box=Box(width=1, height=1))]
    ).SerializeToString()
    derived: ClassVar[bool] = True
    batch_size: ClassVar[int | None] = 1
    max_waiting: int = MAX_WAITING

    def answer(self, inputs: Tensors) -> Tensors:
        """Some features of a built-in mark: how many, and where, is another in every colour."""
        grey, gallery = inputs[sift.INPUT], built_in()
        colour = round((255 - float(grey.mean())) / 0.587)
        rows = np.flatnonzero(gallery.mark_of == 0)[: 10 + colour % 11]
        points = gallery.points[rows].copy()
        points[:, :3] *= 0.15
        points[:, 0] += 2 * (colour // 11) % 24
        height, width = grey.shape
        points *= np.array([width / 64, height / 48, max(grey.shape) / 64, 1], np.float32)
        return {sift.POINTS: points, sift.DESCRIPTORS: gallery.descriptors[rows]}

    def is_dark(self, inputs: Tensors) -> bool:
        return bool(inputs[sift.INPUT].max(initial=0) < 10)

    async def register(
        self,
        engine: Engine,
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics,
    ) -> Register:
        model = LogoModel(engine, labels=built_in().brands)
        # Brands have a store of their own here: no tenant of this suite has any.
        parts = Parts(Objects.open("memory:///"), images, results, diagnostics, model=model)
        return partial(add_LogoServiceServicer_to_server, parts.servicer())

    async def ask(
        self,
        channel: grpc.aio.Channel,
        refs: Sequence[ImageRef],
        timeout_s: float,
        metadata: Metadata,
        version: str,
    ) -> list[Answer]:
        request = logo_pb2.RecognizeRequest(images=refs, model_version=version)
        response = await LogoServiceStub(channel).Recognize(
            request, timeout=timeout_s, metadata=metadata
        )
        return [answer_of(outcome) for outcome in response.outcomes]

    async def describe(self, channel: grpc.aio.Channel, metadata: Metadata) -> Model:
        request = logo_pb2.GetModelRequest()
        return (await LogoServiceStub(channel).GetModel(request, metadata=metadata)).model


SERVICES: tuple[type[ModelService], ...] = (Nsfw, Detection, DetectionByDFine, Ocr, Logo)
