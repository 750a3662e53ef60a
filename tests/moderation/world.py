"""The moderation service over real gRPC, with a small honest nsfw service behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from services import errors
from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.media.record import ImageRecord
from services.media.store import ImageStore
from services.moderation.archive import PolicyArchive
from services.moderation.converters import policy_to_proto
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, vocabulary
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from services.moderation.servicer import ModerationServicer
from services.moderation.stored import StoredReplies
from services.moderation.verdicts import Verdicts
from services.releases.releases import Releases
from services.results.keys import ResultKey
from services.results.results import Results
from services.serving import tenancy
from services.serving.status import from_status, to_status
from tests.releases.stores import Clock
from tests.support.mesh import (
    NUDITY_ALONE,
    FakeDetection,
    FakeLogo,
    FakeNsfw,
    FakeOcr,
    adding,
    mesh_of,
)
from tests.support.photos import jpeg
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import add_ModerationServiceServicer_to_server
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult

APPROVED = moderation_pb2.DECISION_APPROVED
REJECTED = moderation_pb2.DECISION_REJECTED
UNDETERMINED = moderation_pb2.DECISION_UNDETERMINED


@cache
def photo(seed: int) -> bytes:
    """A small image, another one for each seed."""
    return jpeg(40, 30, seed=seed)


class BrokenStore(ImageStore):
    """A store whose disk has gone."""

    async def get(self, tenant: str, digest: str) -> ImageRecord:
        raise errors.StoreUnavailable("the object store cannot be reached")


class HangingStore(ImageStore):
    """A store that never answers for images whose digest ends in 2."""

    async def get(self, tenant: str, digest: str) -> ImageRecord:
        if digest.endswith("2"):
            await asyncio.Event().wait()
        return await super().get(tenant, digest)


class VersionedNsfw(FakeNsfw):
    """Replicas of several versions: `versions` has those that look at single images.

    As the real service it answers a pinned call as that version or not at all, and what it does not
    serve it says it does not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, str] = {}

    async def Classify(
        self, request: nsfw_pb2.ClassifyRequest, context: Any
    ) -> nsfw_pb2.ClassifyResponse:
        response = await super().Classify(request, context)
        for outcome in response.outcomes:
            outcome.model_version = self.versions.get(outcome.digest, self.version)
            if request.model_version not in ("", outcome.model_version):
                missing = errors.ResultNotFound("not stored, and not served")
                outcome.error.CopyFrom(to_status(missing))
        return response


class Record:
    """An audit log in memory; `error` is why nothing can be recorded."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, moderation_pb2.Verdict, str]] = []
        self.error: errors.VisionmeshError | None = None

    async def confirm(self, tenant: str, request: moderation_pb2.EvaluateRequest) -> None:
        if self.error:
            raise self.error

    async def record(
        self, tenant: str, verdicts: Sequence[tuple[str, moderation_pb2.Verdict]], trace_id: str
    ) -> None:
        if self.error:
            raise self.error
        self.entries += [(tenant, digest, verdict, trace_id) for digest, verdict in verdicts]

    async def page(
        self, tenant: str, page_size: int = 0, page_token: str = "", digest: str = ""
    ) -> moderation_pb2.ListAuditEntriesResponse:
        entries = [
            moderation_pb2.AuditEntry(id=f"{index}", digest=of, verdict=verdict, trace_id=trace)
            for index, (owner, of, verdict, trace) in enumerate(self.entries)
            if owner == tenant and digest in ("", of)
        ]
        return moderation_pb2.ListAuditEntriesResponse(
            entries=entries[::-1][:page_size], next_page_token=page_token
        )


@dataclass
class World:
    """A client of moderation, and what is behind it."""

    moderation: MeshClient
    nsfw: FakeNsfw
    images: ImageStore
    results: Results
    clock: Clock
    objects: Objects
    policies: PolicySet
    archive: PolicyArchive
    releases: Releases
    audit: Record

    async def upload(self, count: int) -> list[str]:
        """Store small images, and return their digests."""
        return [
            (await self.images.create(tenancy.LOCAL, photo(seed)))[0].digest
            for seed in range(count)
        ]

    async def store(self, digest: str, score: float, version: str = "") -> None:
        """Store a result of an image as the nsfw service would."""
        key = ResultKey(digest, "nsfw", version or self.nsfw.version)
        await self.results.put(key, NsfwResult(score=score).SerializeToString())
        await self.results.settle()

    async def reload(self) -> None:
        """Load the policies again, as SIGHUP does."""
        self.policies.reload()
        self.archive.keep(self.policies.all())
        self.releases.policies_changed()
        await self.archive.settle(10)


@asynccontextmanager
async def world(
    folder: Path,
    *,
    address: str = "",
    policies: Path = NUDITY_ALONE,
    images: type[ImageStore] = ImageStore,
    nsfw: FakeNsfw | None = None,
    ocr: FakeOcr | None = None,
    logo: FakeLogo | None = None,
    detection: FakeDetection | None = None,
    start: bool = False,
) -> AsyncIterator[World]:
    """Start both; `address` is where moderation looks for nsfw instead of at the fake one.

    When `start`, moderation recalls what it heard of last time, and asks who is there.
    """
    nsfw, clock, audit = nsfw or FakeNsfw(), Clock(), Record()
    objects = Objects.open(folder)
    store, results = images(objects), Results.over(objects)
    loaded = PolicySet(policies, vocabulary(MODELS))

    async def in_use() -> Sequence[moderation_pb2.Policy]:
        return [policy_to_proto(policy) for policy in loaded.all()]

    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(
            MeshClient(address) if address else mesh_of(adding(nsfw, detection, ocr, logo))
        )
        stored = StoredReplies(store, results, MODELS)
        stack.push_async_callback(results.close)
        archive = PolicyArchive(objects, vocabulary(MODELS))
        stack.push_async_callback(archive.close)
        archive.keep(loaded.all())
        await archive.settle(10)
        releases = Releases(objects, mesh, policies=in_use, clock=clock)
        stack.push_async_callback(releases.close)
        if start:
            await releases.start()
        verdicts = Verdicts(
            loaded,
            archive,
            releases,
            Moderator(mesh, MODELS, releases, Fallback(stored, releases)),
            Recall(stored, releases),
        )
        add = partial(add_ModerationServiceServicer_to_server, ModerationServicer(verdicts, audit))
        client = await stack.enter_async_context(mesh_of(add))
        yield World(client, nsfw, store, results, clock, objects, loaded, archive, releases, audit)


def refs(digests: Sequence[str]) -> list[ImageRef]:
    return [ImageRef(digest=digest) for digest in digests]


def assert_missing(
    outcome: moderation_pb2.ModerationOutcome, kind: type[errors.VisionmeshError]
) -> None:
    """The verdict is open, and says that nsfw is missing and why."""
    verdict = outcome.verdict
    assert verdict.decision == UNDETERMINED
    assert list(verdict.missing) == ["nsfw"]
    assert list(verdict.unknown_codes) == ["NUDITY"]
    assert type(from_status(verdict.model_errors["nsfw"])) is kind
