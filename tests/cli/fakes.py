"""Fakes in a thread of their own: the command line has an event loop of its own."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Any

import grpc

from services import errors
from services.client.mesh import API_KEY_HEADER
from services.serving.server import grpc_server
from services.serving.status import to_status
from tests.support.mesh import FakeDetection, FakeNsfw, adding
from visionmesh.images.v1 import images_pb2, images_pb2_grpc
from visionmesh.moderation.v1 import moderation_pb2 as pb
from visionmesh.moderation.v1 import moderation_pb2_grpc

POLICY_VERSION = "00112233445566ff"
RELEASE = "ffeeddccbbaa9988"


class FakeImages(images_pb2_grpc.ImageServiceServicer):
    """Takes everything that starts with `image`, and JPEGs and PNGs, and remembers it."""

    def __init__(self, closed: bool) -> None:
        self.stored: dict[str, bytes] = {}
        self._closed = closed

    async def CreateImage(
        self, request: images_pb2.CreateImageRequest, context: Any
    ) -> images_pb2.CreateImageResponse:
        if self._closed and dict(context.invocation_metadata()).get(API_KEY_HEADER) != "good":
            raise errors.Unauthenticated("a valid key is needed")
        if not request.data:
            raise errors.EmptyImage("data: no bytes", field="data")
        if not request.data.startswith((b"image", b"\xff\xd8", b"\x89PNG")):
            raise errors.UnsupportedFormat("data: not an image", field="data", limit="image/png")
        digest = hashlib.sha256(request.data).hexdigest()
        self.stored[digest] = request.data
        return images_pb2.CreateImageResponse(image=images_pb2.Image(digest=digest), created=True)


class FakeModeration(moderation_pb2_grpc.ModerationServiceServicer):
    """Decides by the image's own words: `bad`, `unknown`, `lost`, else it is approved."""

    def __init__(self, images: FakeImages) -> None:
        self._images = images
        self.policies: list[str] = []

    async def Moderate(self, request: pb.ModerateRequest, context: Any) -> pb.ModerateResponse:
        if request.policy not in ("", "strict"):
            raise errors.PolicyNotFound(f"there is no policy {request.policy!r}", field="policy")
        self.policies.append(request.policy)
        return pb.ModerateResponse(outcomes=[self._outcome(ref.digest) for ref in request.images])

    def _outcome(self, digest: str) -> pb.ModerationOutcome:
        outcome = pb.ModerationOutcome(digest=digest)
        data = self._images.stored[digest]
        if b"lost" in data:
            outcome.error.CopyFrom(to_status(errors.ImageNotFound(f"there is no image {digest}")))
            return outcome
        outcome.image_size.width, outcome.image_size.height = 640, 480
        verdict = outcome.verdict
        verdict.release = RELEASE
        verdict.policy, verdict.policy_version = "default", POLICY_VERSION
        verdict.decision = pb.DECISION_APPROVED
        verdict.model_versions["nsfw"] = "0123456789abcdef"
        if b"bad" in data:
            verdict.decision = pb.DECISION_REJECTED
            evidence = pb.Evidence(model="nsfw", label="nsfw", score=0.97)
            verdict.reasons.add(
                code="NUDITY",
                severity=pb.SEVERITY_HIGH,
                message="Shows nudity.",
                evidence=[evidence],
            )
        if b"unknown" in data:
            verdict.decision = pb.DECISION_UNDETERMINED
            verdict.missing.append("nsfw")
            verdict.unknown_codes.append("NUDITY")
            verdict.model_versions.clear()
        return outcome


class FakeMesh:
    """Where the fakes listen, and what they saw."""

    def __init__(self, closed: bool = False) -> None:
        # What the command line does not call is left unimplemented.
        self.images = FakeImages(closed)  # type: ignore[abstract]
        self.moderation = FakeModeration(self.images)  # type: ignore[abstract]
        self.detection = FakeDetection()
        self.address = ""

    def register(self, server: grpc.aio.Server) -> None:
        images_pb2_grpc.add_ImageServiceServicer_to_server(self.images, server)
        moderation_pb2_grpc.add_ModerationServiceServicer_to_server(self.moderation, server)
        adding(FakeNsfw(), self.detection)(server)


@contextmanager
def fake_mesh(*, closed: bool = False) -> Iterator[FakeMesh]:
    """A mesh of fakes that answers while the context lasts; a closed one wants the key `good`."""
    mesh = FakeMesh(closed)
    with serving(grpc_server(mesh.register)) as [port]:
        mesh.address = f"127.0.0.1:{port}"
        yield mesh


@contextmanager
def serving(*servers: AbstractAsyncContextManager[int]) -> Iterator[list[int]]:
    """Servers in a thread of their own, and their ports."""
    loop = asyncio.new_event_loop()
    started: Future[list[int]] = Future()
    stopped = asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            try:
                started.set_result([await stack.enter_async_context(each) for each in servers])
            except BaseException as error:
                started.set_exception(error)
                raise
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield started.result(timeout=30)
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
