"""Answers that are not whole are kept nowhere: not by clients, not by Envoy, not by any tier."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis import Redis

from services.media.store import image_folder
from tests.support.photos import jpeg
from tests.support.redis import redis_server
from tests.support.whole import Answer, World, until, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT_MS = "5000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with (
        redis_server() as redis,
        world(tmp_path_factory.mktemp("mesh"), config={"redis_url": redis.url}) as running,
    ):
        yield running


def results_of(mesh: World, digest: str) -> tuple[int, list[str]]:
    """Bytes of results in the store, and what Redis holds, of one image."""
    stored = mesh.mesh.data.root / "objects" / image_folder(digest) / "results"
    with Redis.from_url(mesh.mesh.redis_url) as redis:
        keys = [
            key.decode() for key in redis.scan_iter(f"*{digest}*") if redis.type(key) == b"hash"
        ]
    return stored.stat().st_size, keys


async def ask(mesh: World, path: str) -> Answer:
    return await mesh.call("GET", path, x_request_timeout_ms=TIMEOUT_MS)


@pytest.mark.parametrize("pinned", [False, True])
async def test_no_layer_keeps_it(mesh: World, pinned: bool):
    """While the model is away every request reaches the facade; afterwards the answer is whole."""
    release = (await mesh.call("GET", "/v1/releases/current")).json["release"]
    digest = await mesh.upload(jpeg(640, 480, seed=1 + pinned))
    query = f"?release={release}" if pinned else ""
    verdict, score = (f"/v1/images/{digest}/{kind}{query}" for kind in ("moderation", "nsfw"))
    old = mesh.mesh.pid("nsfw")
    os.kill(old, signal.SIGSTOP)  # its restart would be too quick to ask in between
    try:

        async def ejected() -> bool:
            healthy = mesh.stats(r"^cluster\.nsfw(_[a-z]+)?\.membership_healthy$")
            return bool(healthy) and not any(healthy.values())

        await until(ejected, "Envoy found nsfw unhealthy")
        for _ in range(3):
            asked = mesh.requests_to("rest")
            partial, failed = await ask(mesh, verdict), await ask(mesh, score)
            assert mesh.requests_to("rest") - asked == 2, "Envoy answered by itself"
            assert (partial.status, partial.json["decision"]) == (200, "UNDETERMINED")
            assert failed.status == 503
            for answer in (partial, failed):
                assert answer.headers["cache-control"] == "no-store"
                assert "etag" not in answer.headers
        assert results_of(mesh, digest) == (0, [])
    finally:
        os.kill(old, signal.SIGCONT)

    async def whole() -> bool:
        return bool((await ask(mesh, verdict)).json["decision"] == "APPROVED")

    await until(whole, "nsfw is back")
    assert (await ask(mesh, score)).json["nsfw"]["score"] >= 0


async def test_a_failure_is_not_remembered(mesh: World):
    """A look that its client did not wait for is no answer for the next one."""
    digest = await mesh.upload(jpeg(1600, 1200, seed=9))
    path = f"/v1/images/{digest}/nsfw"
    hasty = await mesh.call("GET", path, x_request_timeout_ms="1")
    assert hasty.status in (200, 504)
    if hasty.status == 504:
        assert hasty.headers["cache-control"] == "no-store"
    assert (await mesh.call("GET", path)).status == 200
