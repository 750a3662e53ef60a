"""The moderation service over real gRPC, with a small honest nsfw service behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from services import errors
from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.media.record import ImageRecord
from services.media.store import ImageStore
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, vocabulary
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from services.moderation.servicer import ModerationServicer
from services.moderation.settings import PACKAGED_POLICIES
from services.moderation.stored import StoredReplies
from services.moderation.versions import ModelVersions
from services.results.keys import ResultKey
from services.results.store import ResultStore
from services.serving.status import from_status
from tests.support.mesh import FakeNsfw, adding, mesh_of
from tests.support.photos import jpeg
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import add_ModerationServiceServicer_to_server
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult

APPROVED = moderation_pb2.DECISION_APPROVED
REJECTED = moderation_pb2.DECISION_REJECTED
UNDETERMINED = moderation_pb2.DECISION_UNDETERMINED


@cache
def photo(seed: int) -> bytes:
    """A small image, another one for each seed."""
    return jpeg(40, 30, seed=seed)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class BrokenStore(ImageStore):
    """A store whose disk has gone."""

    async def get(self, digest: str) -> ImageRecord:
        raise errors.StoreUnavailable("the object store cannot be reached")


class HangingStore(ImageStore):
    """A store that never answers for images whose digest ends in 2."""

    async def get(self, digest: str) -> ImageRecord:
        if digest.endswith("2"):
            await asyncio.Event().wait()
        return await super().get(digest)


@dataclass
class World:
    """A client of moderation, and what is behind it."""

    moderation: MeshClient
    nsfw: FakeNsfw
    images: ImageStore
    results: ResultStore
    clock: Clock

    async def upload(self, count: int) -> list[str]:
        """Store small images, and return their digests."""
        return [(await self.images.create(photo(seed)))[0].digest for seed in range(count)]

    async def store(self, digest: str, score: float, version: str = "") -> None:
        """Store a result of an image as the nsfw service would."""
        key = ResultKey(digest, "nsfw", version or self.nsfw.version)
        await self.results.put(key, NsfwResult(score=score).SerializeToString())


@asynccontextmanager
async def world(
    folder: Path,
    *,
    address: str = "",
    policies: Path = PACKAGED_POLICIES,
    images: type[ImageStore] = ImageStore,
    nsfw: FakeNsfw | None = None,
) -> AsyncIterator[World]:
    """Start both; `address` is where moderation looks for nsfw instead of at the fake one."""
    nsfw, clock = nsfw or FakeNsfw(), Clock()
    objects = Objects.open(folder)
    store, results = images(objects), ResultStore(objects)
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(
            MeshClient(address) if address else mesh_of(adding(nsfw))
        )
        stored = StoredReplies(store, results, MODELS)
        versions = ModelVersions(mesh, clock=clock)
        servicer = ModerationServicer(
            PolicySet(policies, vocabulary(MODELS)),
            Moderator(mesh, MODELS, versions, Fallback(stored, versions)),
            Recall(stored, versions),
        )
        add = partial(add_ModerationServiceServicer_to_server, servicer)
        client = await stack.enter_async_context(mesh_of(add))
        yield World(client, nsfw, store, results, clock)


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
