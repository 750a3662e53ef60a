"""Small honest stand-ins for the services of the mesh, behind one real gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from services import errors
from services.client.mesh import MeshClient
from services.serving import deadline, status, tracing
from services.serving.server import Register, grpc_server
from visionmesh.common.v1 import model_pb2
from visionmesh.detection.v1 import detection_pb2, detection_pb2_grpc
from visionmesh.logo.v1 import logo_pb2, logo_pb2_grpc
from visionmesh.nsfw.v1 import nsfw_pb2, nsfw_pb2_grpc
from visionmesh.ocr.v1 import ocr_pb2, ocr_pb2_grpc

NUDITY_ALONE = Path(__file__).parent / "policies"
"""A folder whose default policy reads nsfw and nothing else: for what is not about policies."""

DETECTION = "d0d0d0d0d0d0d0d0"
"""The version of the fake detection service, for what every release of such a mesh names."""

OCR = "0c0c0c0c0c0c0c0c"
LOGO = "1090109010901090" + "6a116a116a116a11"
"""The versions of the others, for the same."""


class FakeNsfw(nsfw_pb2_grpc.NsfwServiceServicer):
    """Gives every image the score in `scores`, 0 when it is not there, and remembers its calls.

    Answers as `version`, about the digests in `versions` as another one.

    `error` is raised for the whole call, `errors` are the outcomes of single digests, and while
    `hanging` is set a call does not end before its caller gives up.
    """

    def __init__(self) -> None:
        self.version = "0123456789abcdef"
        self.versions: dict[str, str] = {}
        self.scores: dict[str, float] = {}
        self.errors: dict[str, Exception] = {}
        self.error: Exception | None = None
        self.hanging = False
        self.calls: list[nsfw_pb2.ClassifyRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.trace_ids: list[str] = []
        self.remaining_s: list[float | None] = []
        self.cancelled = asyncio.Event()
        self.described = asyncio.Event()

    async def Classify(
        self, request: nsfw_pb2.ClassifyRequest, context: Any
    ) -> nsfw_pb2.ClassifyResponse:
        self.calls.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.trace_ids.append(tracing.trace_id())
        self.remaining_s.append(deadline.remaining_s())
        if self.hanging:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if self.error:
            raise self.error
        return nsfw_pb2.ClassifyResponse(
            outcomes=[self._outcome(image.digest) for image in request.images]
        )

    def _outcome(self, digest: str) -> nsfw_pb2.ClassifyOutcome:
        version = self.versions.get(digest, self.version)
        outcome = nsfw_pb2.ClassifyOutcome(digest=digest, model_version=version)
        if error := self.errors.get(digest):
            outcome.error.CopyFrom(status.to_status(error))
            return outcome
        outcome.image_size.width, outcome.image_size.height = 640, 480
        outcome.result.score = self.scores.get(digest, 0.0)
        return outcome

    async def GetModel(
        self, request: nsfw_pb2.GetModelRequest, context: Any
    ) -> nsfw_pb2.GetModelResponse:
        if self.error:
            raise errors.Unavailable("down")
        self.described.set()
        return nsfw_pb2.GetModelResponse(
            model=model_pb2.Model(name="nsfw", version=self.version, labels=["sfw", "nsfw"])
        )


class FakeDetection(detection_pb2_grpc.DetectionServiceServicer):
    """Sees in every image what is in `seen`; while `error` is set it is raised instead."""

    def __init__(self) -> None:
        self.version = DETECTION
        self.seen = detection_pb2.DetectionResult()
        self.error: Exception | None = None

    async def Detect(
        self, request: detection_pb2.DetectRequest, context: Any
    ) -> detection_pb2.DetectResponse:
        if self.error:
            raise self.error
        response = detection_pb2.DetectResponse()
        for image in request.images:
            outcome = response.outcomes.add(digest=image.digest, model_version=self.version)
            outcome.image_size.width, outcome.image_size.height = 640, 480
            outcome.result.CopyFrom(self.seen)
        return response

    async def GetModel(
        self, request: detection_pb2.GetModelRequest, context: Any
    ) -> detection_pb2.GetModelResponse:
        return detection_pb2.GetModelResponse(
            model=model_pb2.Model(name="detection", version=self.version, labels=["cat", "dog"])
        )


class FakeOcr(ocr_pb2_grpc.OcrServiceServicer):
    """Reads in every image what is in `seen`, and is always there."""

    def __init__(self) -> None:
        self.version = OCR
        self.seen = ocr_pb2.OcrResult()

    async def Read(self, request: ocr_pb2.ReadRequest, context: Any) -> ocr_pb2.ReadResponse:
        response = ocr_pb2.ReadResponse()
        for image in request.images:
            outcome = response.outcomes.add(digest=image.digest, model_version=self.version)
            outcome.image_size.width, outcome.image_size.height = 640, 480
            outcome.result.CopyFrom(self.seen)
        return response

    async def GetModel(
        self, request: ocr_pb2.GetModelRequest, context: Any
    ) -> ocr_pb2.GetModelResponse:
        return ocr_pb2.GetModelResponse(model=model_pb2.Model(name="ocr", version=self.version))


class FakeLogo(logo_pb2_grpc.LogoServiceServicer):
    """Recognizes in every image what is in `seen`, and is always there."""

    def __init__(self) -> None:
        self.version = LOGO
        self.seen = logo_pb2.LogoResult()
        self.own: dict[str, logo_pb2.Brand] = {}

    async def Recognize(
        self, request: logo_pb2.RecognizeRequest, context: Any
    ) -> logo_pb2.RecognizeResponse:
        response = logo_pb2.RecognizeResponse()
        for image in request.images:
            outcome = response.outcomes.add(digest=image.digest, model_version=self.version)
            outcome.image_size.width, outcome.image_size.height = 640, 480
            outcome.result.CopyFrom(self.seen)
        return response

    async def GetModel(
        self, request: logo_pb2.GetModelRequest, context: Any
    ) -> logo_pb2.GetModelResponse:
        return logo_pb2.GetModelResponse(model=model_pb2.Model(name="logo", version=self.version))

    async def RegisterBrand(
        self, request: logo_pb2.RegisterBrandRequest, context: Any
    ) -> logo_pb2.RegisterBrandResponse:
        self.own[request.name] = logo_pb2.Brand(name=request.name)
        return logo_pb2.RegisterBrandResponse(brand=self.own[request.name])

    async def ListBrands(
        self, request: logo_pb2.ListBrandsRequest, context: Any
    ) -> logo_pb2.ListBrandsResponse:
        return logo_pb2.ListBrandsResponse(brands=[self.own[name] for name in sorted(self.own)])

    async def DeleteBrand(
        self, request: logo_pb2.DeleteBrandRequest, context: Any
    ) -> logo_pb2.DeleteBrandResponse:
        del self.own[request.name]
        return logo_pb2.DeleteBrandResponse()


def registering(*adders: Callable[[grpc.aio.Server], None]) -> Register:
    """One registration out of several, for a server that stands in for the whole mesh."""

    def register(server: grpc.aio.Server) -> None:
        for add in adders:
            add(server)

    return register


@asynccontextmanager
async def mesh_of(*adders: Callable[[grpc.aio.Server], None]) -> AsyncIterator[MeshClient]:
    """A client of one server that hosts the given servicers."""
    async with (
        grpc_server(registering(*adders)) as port,
        MeshClient(f"127.0.0.1:{port}") as client,
    ):
        yield client


def adding(
    servicer: FakeNsfw,
    detection: FakeDetection | None = None,
    ocr: FakeOcr | None = None,
    logo: FakeLogo | None = None,
) -> Callable[[grpc.aio.Server], None]:
    """The registration of a fake nsfw service, and of the mesh's other models."""

    def add(server: grpc.aio.Server) -> None:
        nsfw_pb2_grpc.add_NsfwServiceServicer_to_server(servicer, server)
        detection_pb2_grpc.add_DetectionServiceServicer_to_server(
            detection or FakeDetection(), server
        )
        ocr_pb2_grpc.add_OcrServiceServicer_to_server(ocr or FakeOcr(), server)
        logo_pb2_grpc.add_LogoServiceServicer_to_server(logo or FakeLogo(), server)

    return add


def digests(count: int) -> Sequence[str]:
    """Well-formed digests that name nothing."""
    return [f"{number:064x}" for number in range(1, count + 1)]
