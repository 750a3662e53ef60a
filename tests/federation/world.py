"""Subgraphs over a small mesh in this process: fakes that count how often they are asked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from federation.subgraphs.schemas import SUBGRAPHS
from federation.subgraphs.server import subgraph_server
from federation.subgraphs.settings import SubgraphSettings
from services import errors
from services.client.mesh import MeshClient
from services.images.servicer import ImagesServicer
from services.media.objects import Objects
from services.media.store import ImageStore
from services.serving import status
from services.serving.server import grpc_server
from services.serving.tenancy import LOCAL
from tests.support.mesh import (
    FakeDetection,
    FakeLogo,
    FakeNsfw,
    FakeOcr,
    adding,
    registering,
)
from tests.support.photos import jpeg
from visionmesh.detection.v1 import detection_pb2
from visionmesh.images.v1.images_pb2_grpc import add_ImageServiceServicer_to_server
from visionmesh.moderation.v1 import moderation_pb2, moderation_pb2_grpc
from visionmesh.nsfw.v1 import nsfw_pb2


class HeldNsfw(FakeNsfw):
    """Answers at once, or when it is `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def Classify(
        self, request: nsfw_pb2.ClassifyRequest, context: Any
    ) -> nsfw_pb2.ClassifyResponse:
        response = await super().Classify(request, context)
        self.asked.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return response


class CountingDetection(FakeDetection):
    """Remembers its calls, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[detection_pb2.DetectRequest] = []
        self.error: Exception | None = None

    async def Detect(
        self, request: detection_pb2.DetectRequest, context: Any
    ) -> detection_pb2.DetectResponse:
        self.calls.append(request)
        if self.error:
            raise self.error
        return await super().Detect(request, context)


class FakeModeration(moderation_pb2_grpc.ModerationServiceServicer):
    """Gives every image the same verdict, and remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[moderation_pb2.ModerateRequest] = []
        self.errors: dict[str, Exception] = {}
        self.verdict = moderation_pb2.Verdict(
            decision=moderation_pb2.DECISION_APPROVED,
            policy="default",
            policy_version="1" * 16,
            release="2" * 16,
        )

    async def Moderate(
        self, request: moderation_pb2.ModerateRequest, context: Any
    ) -> moderation_pb2.ModerateResponse:
        self.calls.append(request)
        response = moderation_pb2.ModerateResponse()
        for image in request.images:
            outcome = response.outcomes.add(digest=image.digest)
            if error := self.errors.get(image.digest):
                outcome.error.CopyFrom(status.to_status(error))
                continue
            outcome.verdict.CopyFrom(self.verdict)
            outcome.image_size.width, outcome.image_size.height = 640, 480
        return response

    async def Evaluate(
        self, request: moderation_pb2.EvaluateRequest, context: Any
    ) -> moderation_pb2.EvaluateResponse:
        raise errors.ModelUnavailable("not here")

    async def ListAuditEntries(
        self, request: moderation_pb2.ListAuditEntriesRequest, context: Any
    ) -> moderation_pb2.ListAuditEntriesResponse:
        raise errors.AuditUnavailable("not here")

    async def ListPolicies(
        self, request: moderation_pb2.ListPoliciesRequest, context: Any
    ) -> moderation_pb2.ListPoliciesResponse:
        return moderation_pb2.ListPoliciesResponse(
            policies=[moderation_pb2.Policy(name="default", version="1" * 16)]
        )


@dataclass(frozen=True)
class Answer:
    """What a subgraph answered."""

    status: int
    headers: Any
    json: Any

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.json.get("errors", [])]


@dataclass
class World:
    """Subgraphs, and what stands behind them."""

    port: int
    http: aiohttp.ClientSession
    store: ImageStore
    nsfw: HeldNsfw
    detection: CountingDetection
    ocr: FakeOcr
    logo: FakeLogo
    moderation: FakeModeration

    async def stored(self, count: int) -> list[str]:
        """Ids of so many stored images."""
        records = [await self.store.create(LOCAL, jpeg(8, 8, seed=seed)) for seed in range(count)]
        return [record.digest for record, _ in records]

    async def post(self, subgraph: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        """Send a body to a subgraph: JSON, a form, or bytes."""
        kind = "json" if isinstance(body, dict) else "data"
        url = f"http://127.0.0.1:{self.port}/{subgraph}"
        sent: dict[str, Any] = {kind: body}
        async with self.http.post(url, headers=headers, **sent) as answer:
            return Answer(answer.status, answer.headers, await answer.json())

    async def ask(
        self, subgraph: str, query: str, headers: dict[str, str] | None = None, **variables: Any
    ) -> Answer:
        """Execute a document in a subgraph."""
        return await self.post(subgraph, {"query": query, "variables": variables}, headers)

    async def entities(
        self,
        subgraph: str,
        selection: str,
        ids: list[str],
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """What the gateway asks: fields of entities by their ids."""
        query = (
            "query ($r: [_Any!]!) { _entities(representations: $r) "
            f"{{ ... on Image {{ {selection} }} }} }}"
        )
        representations = [{"__typename": "Image", "id": image_id} for image_id in ids]
        return await self.ask(subgraph, query, headers, r=representations)


@asynccontextmanager
async def world(folder: Path, *, token: str = "") -> AsyncIterator[World]:
    """All subgraphs over fakes, and a real object store in a folder."""
    objects = Objects.open(folder)
    store = ImageStore(objects)
    nsfw, detection, ocr, logo = HeldNsfw(), CountingDetection(), FakeOcr(), FakeLogo()
    moderation = FakeModeration()

    def others(server: grpc.aio.Server) -> None:
        add_ImageServiceServicer_to_server(ImagesServicer(store, max_uploads=4), server)
        moderation_pb2_grpc.add_ModerationServiceServicer_to_server(moderation, server)

    register = registering(adding(nsfw, detection, ocr, logo), others)
    settings = SubgraphSettings(data_dir=folder, token=token, versions_ttl_s=0)
    async with (
        grpc_server(register, token=token) as mesh_port,
        MeshClient(f"127.0.0.1:{mesh_port}", token=token) as mesh,
        subgraph_server(settings, mesh, objects, tuple(SUBGRAPHS)) as port,
        aiohttp.ClientSession() as http,
    ):
        yield World(port, http, store, nsfw, detection, ocr, logo, moderation)
    await store.close()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
