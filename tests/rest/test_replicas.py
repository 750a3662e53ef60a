"""Two replicas of everything over one store and one Redis, with no Envoy between them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import aiohttp

from services.client.mesh import MeshClient
from tests.rest.world import world
from tests.support.photos import jpeg
from tests.support.redis import redis_server
from tests.support.whole import PATIENCE_S, until
from visionmesh.common.v1.image_pb2 import ImageRef


async def test_a_hundred_mixed_calls_are_one_inference(tmp_path: Path):
    """REST and gRPC, single, verdicts and overlapping batches: each image is looked at once."""
    start = partial(
        world,
        tmp_path,
        redis_budget_s=PATIENCE_S,  # a busy machine must not look like an outage
    )
    async with (
        redis_server() as redis,
        start(redis_url=redis.url) as first,
        start(redis_url=redis.url) as second,
        MeshClient(f"127.0.0.1:{first.mesh_port}") as one,
        MeshClient(f"127.0.0.1:{second.mesh_port}") as other,
        aiohttp.ClientSession() as http,
    ):
        replicas, clients = (first, second), (one, other)
        photos = [jpeg(64, 48, seed=seed) for seed in range(4)]
        digest, *beside = [await first.upload(photo) for photo in photos]
        for replica in replicas:
            replica.model.gate.clear()

        async def rest(number: int, kind: str) -> object:
            url = f"http://127.0.0.1:{replicas[number % 2].port}/v1/images/{digest}/{kind}"
            async with http.get(url) as response:
                assert response.status == 200
                answer = await response.json()
            return answer["nsfw"]["score"] if kind == "nsfw" else answer["decision"]

        async def grpc(number: int, *digests: str) -> object:
            refs = [ImageRef(digest=name) for name in digests]
            outcomes = await clients[number % 2].classify(refs)
            return outcomes[-1].result.score

        calls = [
            *(rest(number, "nsfw") for number in range(25)),
            *(rest(number, "moderation") for number in range(25)),
            *(grpc(number, digest) for number in range(25)),
            *(grpc(number, beside[number % 3], digest, digest) for number in range(25)),
        ]
        asked = [asyncio.create_task(call) for call in calls]

        async def looks() -> int:
            return sum(replica.model.predictions for replica in replicas)

        async def all_looked_at() -> bool:
            return await looks() >= len(photos)

        await until(all_looked_at, "each image is looked at somewhere")
        for replica in replicas:
            replica.model.gate.set()
        answers = await asyncio.gather(*asked)
        assert set(answers[:25] + answers[50:]) == {first.model.score}
        assert set(answers[25:50]) == {"APPROVED"}
        assert await looks() == len(photos)
