"""Redis dies, hangs or talks nonsense under a running mesh: no request fails, status says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from mesh.diagnosis import diagnose
from services.catalog import BY_NAME
from tests.support.photos import jpeg
from tests.support.redis import RedisServer, redis_server
from tests.support.whole import PATIENCE_S, World, until, world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Lossy:
    """A mesh and its Redis."""

    mesh: World
    redis: RedisServer
    seed: int = 0

    async def whole(self) -> None:
        """A new photo gets its verdict and its score, twice, and is deleted again."""
        self.seed += 1
        digest = await self.mesh.upload(jpeg(640, 480, seed=self.seed))
        for _ in range(2):
            verdict = await self.mesh.call("GET", f"/v1/images/{digest}/moderation")
            score = await self.mesh.call("GET", f"/v1/images/{digest}/nsfw")
            assert (verdict.status, verdict.json["decision"]) == (200, "APPROVED")
            assert score.status == 200
        assert (await self.mesh.call("DELETE", f"/v1/images/{digest}")).status == 204
        assert (await self.mesh.call("GET", f"/v1/images/{digest}/nsfw")).status == 404

    async def ails(self) -> bool:
        """Whether the model's process says that results are not shared."""
        port = BY_NAME["nsfw"].port(self.mesh.mesh.options.port)
        found = (await diagnose(port, PATIENCE_S)).conditions
        return any(condition.component == "results.shared" for condition in found)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lossy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lossy]:
    async with (
        redis_server() as redis,
        world(tmp_path_factory.mktemp("mesh"), config={"redis_url": redis.url}) as mesh,
    ):
        yield Lossy(mesh, redis)


async def test_killed_and_back(lossy: Lossy):
    """Without Redis everything is answered, and with it again results are shared again."""
    await lossy.whole()
    assert not await lossy.ails()
    await lossy.redis.kill()
    await lossy.whole()
    assert await lossy.ails()
    await lossy.redis.restart()

    async def well() -> bool:
        await lossy.whole()
        return not await lossy.ails()

    await until(well, "results are shared again")


async def test_hanging(lossy: Lossy):
    """A Redis that does not answer is not waited for."""
    lossy.redis.pause()
    try:
        await lossy.whole()
        assert await lossy.ails()
    finally:
        lossy.redis.resume()


async def test_garbage(lossy: Lossy):
    """What is no result counts as none: the answer is what a model said."""
    digest = await lossy.mesh.upload(jpeg(640, 480, seed=1_000))
    path = f"/v1/images/{digest}/nsfw"
    score = (await lossy.mesh.call("GET", path)).json["nsfw"]
    async with lossy.redis.client() as redis:
        for key in await redis.keys("*result*"):
            for field in await redis.hkeys(key):
                await redis.hset(key, field, b"\x00garbage")
    await lossy.whole()
    assert (await lossy.mesh.call("GET", path)).json["nsfw"] == score
