"""A hundred questions about one image at once, by every API and through every replica: one look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.photos import jpeg
from tests.support.redis import redis_server
from tests.support.whole import PATIENCE_S, World, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLICAS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    with pytest.MonkeyPatch.context() as environment:
        # A busy machine must not look like an outage.
        environment.setenv("VISIONMESH_REDIS_BUDGET_S", str(PATIENCE_S))
        async with (
            redis_server() as redis,
            world(
                tmp_path_factory.mktemp("mesh"),
                replicas={"nsfw": REPLICAS, "rest": 2},
                config={"redis_url": redis.url},
            ) as running,
        ):
            yield running


async def inferences(mesh: World) -> int:
    found = [await mesh.counters("nsfw", replica) for replica in range(REPLICAS)]
    return sum(counters.get("inferences", 0) for counters in found)


async def test_mixed_calls(mesh: World):
    """REST and gRPC, single and in overlapping batches: one inference for each image."""
    digest, *others = [await mesh.upload(jpeg(1280, 960, seed=seed)) for seed in range(4)]
    before = await inferences(mesh)

    async def nsfw() -> float:
        answer = await mesh.call("GET", f"/v1/images/{digest}/nsfw")
        score: float = answer.json["nsfw"]["score"]
        return score

    async def moderation() -> str:
        answer = await mesh.call("GET", f"/v1/images/{digest}/moderation")
        return str(answer.json["decision"])

    async def single() -> float:
        return (await mesh.grpc.classify([ImageRef(digest=digest)]))[0].result.score

    async def batch(other: str) -> float:
        refs = [ImageRef(digest=name) for name in (other, digest, digest)]
        return (await mesh.grpc.classify(refs))[1].result.score

    answers = await asyncio.gather(
        *(nsfw() for _ in range(25)),
        *(single() for _ in range(25)),
        *(batch(others[number % len(others)]) for number in range(25)),
        *(moderation() for _ in range(25)),
    )
    assert len({answer for answer in answers if isinstance(answer, float)}) == 1
    assert set(answers[75:]) == {"APPROVED"}
    assert await inferences(mesh) - before == 1 + len(others)


async def test_pinned_gets_ask_the_origin_once(mesh: World):
    """A hundred GETs that name the release are one request to the facade, and no inference more."""
    digest = await mesh.upload(jpeg(1280, 960, seed=5))
    release = (await mesh.call("GET", "/v1/releases/current")).json["release"]
    looks = await inferences(mesh)
    asked = mesh.requests_to("rest")
    path = f"/v1/images/{digest}/nsfw?release={release}"
    answers = await asyncio.gather(*(mesh.call("GET", path) for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert mesh.requests_to("rest") - asked == 1
    assert await inferences(mesh) - looks == 1
