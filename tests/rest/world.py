"""The facade over a whole small mesh in this process: real services around a model that is none."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDictProxy
from werkzeug.datastructures import Headers

from services.client.mesh import MeshClient
from services.images.servicer import ImagesServicer
from services.media.formats import MEDIA_TYPES
from services.media.objects import Objects
from services.media.store import ImageStore
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, vocabulary
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from services.moderation.servicer import ModerationServicer
from services.moderation.stored import StoredReplies
from services.moderation.versions import ModelVersions
from services.nsfw import converters
from services.nsfw.servicer import NsfwServicer
from services.nsfw.types import NsfwResult
from services.rest.server import rest_server
from services.rest.settings import RestSettings
from services.results.store import ResultStore
from services.serving.dataplane import DataPlane
from services.serving.server import grpc_server
from tests.rest.contract import Contract, Response
from tests.support.mesh import registering
from visionmesh.images.v1.images_pb2_grpc import add_ImageServiceServicer_to_server
from visionmesh.moderation.v1.moderation_pb2_grpc import add_ModerationServiceServicer_to_server
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2_grpc import add_NsfwServiceServicer_to_server

CONTRACT = Contract()

STRICT = """
description: Rejects at the slightest doubt.
rules:
  - code: DOUBT
    severity: low
    message: The image may not be safe for work.
    when: nsfw.score >= 0.1
    evidence: [{model: nsfw, label: nsfw, score: nsfw.score}]
"""

DEFAULT = """
description: Rejects nudity.
rules:
  - code: NUDITY
    severity: high
    message: The image is very likely not safe for work.
    when: nsfw.score >= 0.8
    evidence: [{model: nsfw, label: nsfw, score: nsfw.score}]
"""


class FakeModel:
    """Gives every image one score, and counts how often it looked."""

    name = "nsfw"

    def __init__(self) -> None:
        self.version = "0123456789abcdef"
        self.score = 0.25
        self.predictions = 0
        self.hanging = False
        self.looking = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def predict(self, rendition: bytes) -> NsfwResult:
        self.predictions += 1
        self.looking.set()
        if self.hanging:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return NsfwResult(self.score)

    def encode(self, result: NsfwResult) -> bytes:
        return converters.encode_result(result)

    def decode(self, data: bytes) -> NsfwResult:
        return converters.decode_result(data)


class FailingNsfw(NsfwServicer):
    """The real servicer, until `error` is set: then every call fails with it."""

    error: Exception | None = None
    described: asyncio.Event

    def __init__(self, plane: DataPlane[NsfwResult], model: nsfw_pb2.GetModelResponse) -> None:
        super().__init__(plane, model)
        self.described = asyncio.Event()

    def describe(self, model: nsfw_pb2.GetModelResponse) -> None:
        self._model = model

    async def Classify(self, request: Any, context: Any) -> nsfw_pb2.ClassifyResponse:
        if self.error:
            raise self.error
        return await super().Classify(request, context)

    async def GetModel(self, request: Any, context: Any) -> nsfw_pb2.GetModelResponse:
        if self.error:
            raise self.error
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
    """The real servicer; its policies cannot be asked for while `error` is set or `gate` is not."""

    def __init__(self, policies: PolicySet, moderator: Moderator, recall: Recall) -> None:
        super().__init__(policies, moderator, recall)
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ListPolicies(self, request: Any, context: Any) -> Any:
        await self.gate.wait()
        if self.error:
            raise self.error
        return await super().ListPolicies(request, context)


@dataclass(frozen=True)
class Answer:
    """What came back, already held to the contract."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class World:
    """One facade, its mesh, and what stands behind it."""

    port: int
    mesh_port: int
    mesh: AsyncExitStack
    http: aiohttp.ClientSession
    model: FakeModel
    nsfw: FailingNsfw
    images: CountingImages
    objects_dir: Path

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        check: bool = True,
    ) -> Answer:
        """One exchange. What the document does not describe fails, unless `check` is off."""
        url = f"http://127.0.0.1:{self.port}{path}"
        sending = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.http.request(method, url, data=sending, headers=headers) as response:
            data = await response.read()
            answer = Answer(response.status, response.headers, data)
            sent = response.request_info
        if check:
            seen = Response(answer.status, Headers(list(answer.headers.items())), data or None)
            CONTRACT.check(method, sent.url, sent.headers, _bytes_of(body), seen)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, headers=_dashed(headers))

    async def post(
        self, path: str, body: Any, content_type: str = "image/jpeg", **headers: str
    ) -> Answer:
        typed = {"Content-Type": content_type, **_dashed(headers)}
        return await self.ask("POST", path, body, headers=typed)

    async def upload(self, data: bytes) -> str:
        """Store an image and return its id."""
        answer = await self.post("/v1/images", data)
        assert answer.status in (200, 201), answer.body
        image_id: str = answer.json["id"]
        return image_id

    async def lose_mesh(self) -> None:
        """Stop every service of the mesh."""
        await self.mesh.aclose()

    def new_version(self, version: str) -> None:
        """Exchange the model by one of another version."""
        self.model.version = version
        self.nsfw.describe(_about(self.model))

    def stored_files(self) -> list[str]:
        """Everything that lies in the object store."""
        return sorted(str(path) for path in self.objects_dir.rglob("*") if path.is_file())


@asynccontextmanager
async def world(
    folder: Path,
    *,
    nsfw_error: Exception | None = None,
    policies_error: Exception | None = None,
    policies_hang: bool = False,
    **settings: Any,
) -> AsyncIterator[World]:
    """Start a mesh and its facade; `settings` are RestSettings'.

    With `nsfw_error` the model's service fails from the first moment on, and with `policies_error`
    or `policies_hang` moderation does not say which policies there are.
    """
    policies = folder / "policies"
    policies.mkdir()
    (policies / "default.yaml").write_text(DEFAULT)
    (policies / "strict.yaml").write_text(STRICT)
    objects = Objects.open(folder / "objects")
    store, results = ImageStore(objects), ResultStore(objects)
    model = FakeModel()
    images = CountingImages(store)
    nsfw = FailingNsfw(DataPlane(model, store, results), _about(model))
    nsfw.error = nsfw_error
    below = (
        partial(add_ImageServiceServicer_to_server, images),
        partial(add_NsfwServiceServicer_to_server, nsfw),
    )
    # Moderation asks models through a client of its own; a mesh in small needs two servers for it.
    async with grpc_server(registering(*below)) as inner, _client(inner) as models:
        stored, versions = StoredReplies(store, results, MODELS), ModelVersions(models)
        moderator = Moderator(models, MODELS, versions, Fallback(stored, versions))
        policy_set = PolicySet(policies, vocabulary(MODELS))
        moderation = FailingModeration(policy_set, moderator, Recall(stored, versions))
        moderation.error = policies_error
        if policies_hang:
            moderation.gate.clear()
        above = partial(add_ModerationServiceServicer_to_server, moderation)
        async with AsyncExitStack() as services:
            port = await services.enter_async_context(grpc_server(registering(*below, above)))
            async with (
                _client(port) as mesh,
                rest_server(RestSettings(port=0, **settings), mesh) as rest_port,
                aiohttp.ClientSession(auto_decompress=False) as http,
            ):
                behind = (model, nsfw, images, folder / "objects")
                yield World(rest_port, port, services, http, *behind)
    await store.close()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _client(port: int) -> MeshClient:
    return MeshClient(f"127.0.0.1:{port}")


def _about(model: FakeModel) -> nsfw_pb2.GetModelResponse:
    return converters.model_response(
        name="nsfw",
        version=model.version,
        description="Says how likely an image is not safe for work.",
        labels=["sfw", "nsfw"],
        license="BSD-2-Clause",
        media_types=MEDIA_TYPES,
    )


def _bytes_of(body: Any) -> bytes | None:
    return bytes(body) if isinstance(body, bytes | bytearray) else None


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
