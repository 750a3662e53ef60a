"""What stands behind the facade in its tests: real services that fail, hang and count as told."""

from __future__ import annotations

import asyncio
from typing import Any

from services.audit.log import AuditLog
from services.detection import converters as detecting
from services.detection.labels import LABELS
from services.detection.servicer import DetectionServicer
from services.detection.types import Detection, DetectionResult
from services.images.servicer import ImagesServicer
from services.inference.picture import Picture, Source
from services.logo.servicer import LogoServicer
from services.media.store import ImageStore
from services.moderation.servicer import ModerationServicer
from services.moderation.verdicts import Verdicts
from services.nsfw.servicer import NsfwServicer
from services.nsfw.types import NsfwResult
from services.ocr import converters as reading
from services.ocr.scripts import SCRIPTS
from services.ocr.servicer import OcrServicer
from services.ocr.types import Line, OcrResult
from services.serving.dataplane import DataPlane
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.detection.v1 import detection_pb2
from visionmesh.logo.v1 import logo_pb2
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.ocr.v1 import ocr_pb2


class FakeModel:
    """Gives every image one score once `gate` is set, and counts how often it looked."""

    name = "nsfw"
    reads: Source = "rendition"
    labels = ("sfw", "nsfw")

    def __init__(self) -> None:
        self.version = "0123456789abcdef"
        self.score = 0.25
        self.predictions = 0
        self.error: Exception | None = None
        self.hanging = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.looking = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def predict(self, picture: Picture) -> NsfwResult:
        self.predictions += 1
        self.looking.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        if self.hanging:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return NsfwResult(self.score)

    def encode(self, result: NsfwResult) -> bytes:
        return nsfw_pb2.NsfwResult(score=result.score).SerializeToString()

    def check(self, encoded: bytes) -> None:
        nsfw_pb2.NsfwResult.FromString(encoded)


class FakeDetector:
    """Sees a cat and a dog in every image."""

    name = "detection"
    reads: Source = "rendition"
    labels = LABELS

    def __init__(self) -> None:
        self.version = "d0d0d0d0d0d0d0d0"
        self.predictions = 0

    async def predict(self, picture: Picture) -> DetectionResult:
        self.predictions += 1
        half = picture.width // 2
        return DetectionResult(
            (
                Detection("cat", 0.75, 0, 0, half, picture.height),
                Detection("dog", 0.5, half, 0, half, picture.height),
                Detection("dining table", 0.25, 0, 0, picture.width, picture.height),
            )
        )

    def encode(self, result: DetectionResult) -> bytes:
        return detecting.encode_result(result)

    def check(self, encoded: bytes) -> None:
        detecting.check_result(encoded)


class FakeReader:
    """Reads two lines in every image."""

    name = "ocr"
    reads: Source = "original"
    labels = SCRIPTS

    def __init__(self) -> None:
        self.version = "0c0c0c0c0c0c0c0c"
        self.predictions = 0

    async def predict(self, picture: Picture) -> OcrResult:
        self.predictions += 1
        right, below = picture.width, picture.height
        upper = ((0, 0), (right, 0), (right, below // 2), (0, below // 2))
        lower = ((0, below // 2), (right, below // 2), (right, below), (0, below))
        return OcrResult((Line("NO PARKING", 0.9, upper), Line("at any time", 0.6, lower)))

    def encode(self, result: OcrResult) -> bytes:
        return reading.encode_result(result)

    def check(self, encoded: bytes) -> None:
        reading.check_result(encoded)


class FailingOcr(OcrServicer):
    """The real servicer, until `error` is set: then it reads nothing any more."""

    error: Exception | None = None

    async def Read(self, request: Any, context: Any) -> ocr_pb2.ReadResponse:
        if self.error:
            raise self.error
        return await super().Read(request, context)


class FailingLogo(LogoServicer):
    """The real servicer, until `error` is set: then it recognizes nothing any more."""

    error: Exception | None = None

    async def Recognize(self, request: Any, context: Any) -> logo_pb2.RecognizeResponse:
        if self.error:
            raise self.error
        return await super().Recognize(request, context)


class FailingDetection(DetectionServicer):
    """The real servicer, until `error` is set: then it sees nothing any more."""

    error: Exception | None = None

    async def Detect(self, request: Any, context: Any) -> detection_pb2.DetectResponse:
        if self.error:
            raise self.error
        return await super().Detect(request, context)


class FailingNsfw(NsfwServicer):
    """The real servicer, until `error` is set: then every call fails with it.

    While `hanging` is set it does not say what it sees, though it says what it is.
    `described` is set when moderation and the facade both have heard what the model is.
    With a `replica` every second call that asks for no version is that one's, as Envoy would do.
    """

    error: Exception | None = None
    hanging = False
    replica: NsfwServicer | None = None
    calls = 0
    described: asyncio.Event
    descriptions = 0

    def __init__(self, plane: DataPlane[NsfwResult], model: Model) -> None:
        super().__init__(plane, model)
        self.described = asyncio.Event()

    def describe(self, model: Model) -> None:
        self._model = nsfw_pb2.GetModelResponse(model=model)

    async def Classify(self, request: Any, context: Any) -> nsfw_pb2.ClassifyResponse:
        if self.hanging:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        self.calls += not request.model_version
        if self.replica and not request.model_version and self.calls % 2:
            return await self.replica.Classify(request, context)
        return await super().Classify(request, context)

    async def GetModel(self, request: Any, context: Any) -> nsfw_pb2.GetModelResponse:
        if self.error:
            raise self.error
        self.descriptions += 1
        if self.descriptions == 2:
            self.described.set()
        return await super().GetModel(request, context)


class CountingImages(ImagesServicer):
    """The real servicer; counts uploads, and holds them back while `gate` is not set."""

    def __init__(self, store: ImageStore) -> None:
        super().__init__(store, max_uploads=16)
        self.uploads = 0
        self.arrived = asyncio.Event()
        self.stored = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def CreateImage(self, request: Any, context: Any) -> Any:
        self.uploads += 1
        self.arrived.set()
        await self.gate.wait()
        response = await super().CreateImage(request, context)
        self.stored.set()
        return response


class FailingModeration(ModerationServicer):
    """The real servicer; its policies cannot be asked for while `error` is set or `gate` is not.

    With a `release` every verdict says that it was made by that one; while `fails` is set there are
    none.
    """

    fails: Exception | None = None

    def __init__(self, verdicts: Verdicts, audit: AuditLog) -> None:
        super().__init__(verdicts, audit)
        self.error: Exception | None = None
        self.release = ""
        self.gate = asyncio.Event()
        self.gate.set()

    async def Moderate(self, request: Any, context: Any) -> Any:
        if self.fails:
            raise self.fails
        response = await super().Moderate(request, context)
        if self.release:
            for outcome in response.outcomes:
                outcome.verdict.release = self.release
        return response

    async def ListPolicies(self, request: Any, context: Any) -> Any:
        await self.gate.wait()
        if self.error:
            raise self.error
        return await super().ListPolicies(request, context)
