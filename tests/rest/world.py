"""The facade over a whole small mesh in this process: real services around a model that is none."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
from multidict import CIMultiDictProxy
from prometheus_client import CollectorRegistry
from werkzeug.datastructures import Headers

from services.audit.log import AuditLog
from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.media.store import ImageStore
from services.moderation.archive import PolicyArchive
from services.moderation.converters import policy_to_proto
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, vocabulary
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from services.moderation.stored import StoredReplies
from services.moderation.verdicts import Verdicts
from services.releases.releases import Releases
from services.rest.server import rest_server
from services.rest.settings import RestSettings
from services.results.results import Results
from services.serving import tenancy
from services.serving.dataplane import DataPlane
from services.serving.diagnostics import Diagnostics
from services.serving.model_process import describe
from services.serving.server import grpc_server
from tests.logo.world import Parts
from tests.rest.behind import (
    CountingImages,
    FailingDetection,
    FailingLogo,
    FailingModeration,
    FailingNsfw,
    FailingOcr,
    FakeDetector,
    FakeModel,
    FakeReader,
)
from tests.rest.contract import Contract, Response
from tests.support.mesh import registering
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.detection.v1.detection_pb2_grpc import add_DetectionServiceServicer_to_server
from visionmesh.images.v1.images_pb2_grpc import add_ImageServiceServicer_to_server
from visionmesh.logo.v1.logo_pb2_grpc import add_LogoServiceServicer_to_server
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import add_ModerationServiceServicer_to_server
from visionmesh.nsfw.v1.nsfw_pb2_grpc import add_NsfwServiceServicer_to_server
from visionmesh.ocr.v1.ocr_pb2_grpc import add_OcrServiceServicer_to_server

CONTRACT = Contract()

WAIT_S = 20.0
"""How long a condition may take before a test gives up on it."""

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
    detector: FakeDetector
    detection: FailingDetection
    reader: FakeReader
    ocr: FailingOcr
    logo: FailingLogo
    recognizing: Parts
    images: CountingImages
    moderation: FailingModeration
    objects: Objects
    results: Results
    folder: Path
    token: str = ""
    tenant: str = ""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def of(self, tenant: str) -> World:
        """The same world for a tenant whom Envoy has named; it has a token."""
        return replace(self, tenant=tenant)

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
        named = {**self._named(), **(headers or {})}
        async with self.http.request(method, url, data=sending, headers=named) as response:
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

    async def ready(self) -> Answer:
        """Wait until the facade has heard of everybody, and says that it is ready."""
        async with asyncio.timeout(WAIT_S):
            while (answer := await self.get("/readyz")).status != 200:
                pass
        return answer

    async def settle(self) -> None:
        """Wait until what was answered is stored: that happens behind the answer."""
        await self.results.settle()

    async def lose_mesh(self) -> None:
        """Stop every service of the mesh."""
        await self.mesh.aclose()

    def new_version(self, version: str) -> None:
        """Exchange the model by one of another version."""
        self.model.version = version
        self.nsfw.describe(_about(self.model))

    def stored_files(self) -> list[str]:
        """Everything that lies in the object store of images and whose they are."""
        below = [self.folder / "objects" / name for name in ("images", "owners")]
        return sorted(str(path) for folder in below for path in folder.rglob("*") if path.is_file())

    def _named(self) -> dict[str, str]:
        """What Envoy adds to a request whose key it has checked."""
        if not self.tenant:
            return {}
        return {tenancy.TOKEN_HEADER: self.token, tenancy.TENANT_HEADER: self.tenant}


@asynccontextmanager
async def world(
    folder: Path,
    *,
    nsfw_error: Exception | None = None,
    policies_error: Exception | None = None,
    policies_hang: bool = False,
    policy: str = DEFAULT,
    **settings: Any,
) -> AsyncIterator[World]:
    """Start a mesh and its facade; `settings` are RestSettings'.

    What an earlier world left in the same folder is found again; two at a time are replicas.
    `policy` is the default one. With `nsfw_error` the model's service fails from the first moment
    on, and with `policies_error` or `policies_hang` moderation does not say which policies there
    are.
    """
    policies = folder / "policies"
    policies.mkdir(exist_ok=True)
    (policies / "default.yaml").write_text(policy)
    (policies / "strict.yaml").write_text(STRICT)
    settings = {"port": 0, "data_dir": folder, **settings}
    rest = RestSettings(**settings)
    registry = CollectorRegistry()
    objects = Objects.open(folder / "objects")
    serving = partial(grpc_server, token=rest.token)
    model = FakeModel()
    async with AsyncExitStack() as stack:
        results = Results.over(
            objects, redis_url=rest.redis_url, redis_budget_s=rest.redis_budget_s
        )
        stack.push_async_callback(results.close)
        store = ImageStore(objects, on_gone=results.forget)
        stack.push_async_callback(store.close)
        images = CountingImages(store)
        plane = DataPlane(model, store, results)
        stack.push_async_callback(plane.close)
        nsfw = FailingNsfw(plane, _about(model))
        nsfw.error = nsfw_error
        detector = FakeDetector()
        detecting = DataPlane(detector, store, results)
        stack.push_async_callback(detecting.close)
        detection = FailingDetection(detecting, _about(detector))
        reader = FakeReader()
        reading = DataPlane(reader, store, results)
        stack.push_async_callback(reading.close)
        ocr = FailingOcr(reading, _about(reader))
        recognizing = Parts(objects, store, results, Diagnostics())
        stack.push_async_callback(recognizing.close)
        await recognizing.engine.load()
        logo = FailingLogo(recognizing.plane, recognizing.brands, recognizing.about)
        below = (
            partial(add_ImageServiceServicer_to_server, images),
            partial(add_NsfwServiceServicer_to_server, nsfw),
            partial(add_DetectionServiceServicer_to_server, detection),
            partial(add_OcrServiceServicer_to_server, ocr),
            partial(add_LogoServiceServicer_to_server, logo),
        )
        # Moderation asks models by a client of its own; a mesh in small needs two servers for it.
        inner = await stack.enter_async_context(serving(registering(*below)))
        models = await stack.enter_async_context(_client(inner, rest.token))
        moderation = await _moderation(stack, folder, objects, store, results, models, rest)
        moderation.error = policies_error
        if policies_hang:
            moderation.gate.clear()
        above = partial(add_ModerationServiceServicer_to_server, moderation)
        services = await stack.enter_async_context(AsyncExitStack())
        port = await services.enter_async_context(serving(registering(*below, above)))
        async with (
            _client(port, rest.token) as mesh,
            rest_server(rest, mesh, objects, registry=registry) as rest_port,
            aiohttp.ClientSession(auto_decompress=False) as http,
        ):
            behind = (
                model,
                nsfw,
                detector,
                detection,
                reader,
                ocr,
                logo,
                recognizing,
                images,
                moderation,
                objects,
                results,
                folder,
                rest.token,
            )
            yield World(rest_port, port, services, http, *behind, registry=registry)


async def _moderation(
    stack: AsyncExitStack,
    folder: Path,
    objects: Objects,
    store: ImageStore,
    results: Results,
    models: MeshClient,
    rest: RestSettings,
) -> FailingModeration:
    """Moderation with all that it needs, as its own composition root puts it together."""
    policies = PolicySet(folder / "policies", vocabulary(MODELS))

    async def in_use() -> list[moderation_pb2.Policy]:
        return [policy_to_proto(policy) for policy in policies.all()]

    archive = PolicyArchive(objects, vocabulary(MODELS))
    stack.push_async_callback(archive.close)
    archive.keep(policies.all())
    releases = Releases(objects, models, policies=in_use, ttl_s=rest.versions_ttl_s)
    stack.push_async_callback(releases.close)
    await releases.start()
    stored = StoredReplies(store, results, MODELS)
    moderator = Moderator(models, MODELS, releases, Fallback(stored, releases))
    audit = AuditLog.open("", folder, False, f"moderation-{uuid4().hex[:8]}")
    stack.push_async_callback(audit.close)
    recall = Recall(stored, releases)
    return FailingModeration(Verdicts(policies, archive, releases, moderator, recall), audit)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _client(port: int, token: str) -> MeshClient:
    return MeshClient(f"127.0.0.1:{port}", token=token)


def _about(model: FakeModel | FakeDetector | FakeReader) -> Model:
    return describe(
        name=model.name,
        version=model.version,
        description="Says what it sees.",
        labels=model.labels,
        license="BSD-2-Clause",
    )


def _bytes_of(body: Any) -> bytes | None:
    return bytes(body) if isinstance(body, bytes | bytearray) else None


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
