"""The nsfw process dies, or hangs: answers in time, nothing cached, and back by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.errors import ModelUnavailable
from tests.support.photos import jpeg
from tests.support.whole import Answer, World, until, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT_MS = "5000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("mesh")) as running:
        yield running


def check_undetermined(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.json["isCompliant"] is None
    assert answer.json["decision"] == "UNDETERMINED"
    assert answer.json["missing"] == ["nsfw"]
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def until_back(mesh: World, path: str) -> Answer:
    async def determined() -> Answer | None:
        answer = await mesh.call("GET", path, x_request_timeout_ms=TIMEOUT_MS)
        return answer if answer.json["decision"] == "APPROVED" else None

    found: Answer = await until(determined, "nsfw is back")
    return found


async def test_killed(mesh: World):
    """Without the nsfw process a verdict is UNDETERMINED; after its restart it is one again."""
    path = f"/v1/images/{await mesh.upload(jpeg(640, 480, seed=1))}/moderation"
    old = mesh.mesh.pid("nsfw")
    os.kill(old, signal.SIGKILL)
    check_undetermined(await mesh.call("GET", path, x_request_timeout_ms=TIMEOUT_MS))
    assert (await mesh.mesh.wait_restarted("nsfw", old)) != old
    await until_back(mesh, path)


async def test_stopped(mesh: World):
    """A nsfw process that hangs costs its answers, not the verdict's deadline."""
    path = f"/v1/images/{await mesh.upload(jpeg(640, 480, seed=2))}/moderation"
    pid = mesh.mesh.pid("nsfw")
    os.kill(pid, signal.SIGSTOP)
    try:
        check_undetermined(await mesh.call("GET", path, x_request_timeout_ms="1000"))

        async def ejected() -> bool:
            healthy = mesh.stats(r"^cluster\.nsfw(_[a-z]+)?\.membership_healthy$")
            return bool(healthy) and not any(healthy.values())

        await until(ejected, "Envoy found nsfw unhealthy")
        check_undetermined(await mesh.call("GET", path, x_request_timeout_ms=TIMEOUT_MS))
    finally:
        os.kill(pid, signal.SIGCONT)
    await until_back(mesh, path)


async def test_result_alone_is_an_error(mesh: World):
    """The model's own answer is a 503 problem while it is away, which no cache keeps."""
    digest = await mesh.upload(jpeg(640, 480, seed=3))
    path = f"/v1/images/{digest}/nsfw"
    old = mesh.mesh.pid("nsfw")
    os.kill(old, signal.SIGKILL)
    answer = await mesh.call("GET", path, x_request_timeout_ms=TIMEOUT_MS)
    assert (answer.status, answer.json["code"]) == (503, "MODEL_UNAVAILABLE")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1
    await mesh.mesh.wait_restarted("nsfw", old)

    async def back() -> bool:
        return (await mesh.call("GET", path)).status == 200

    await until(back, "nsfw answers again")


async def test_what_is_stored_survives_the_model(mesh: World):
    """While the model is away its stored results still answer: metadata, Evaluate and 304s."""
    digest = await mesh.upload(jpeg(640, 480, seed=4))
    await until_back(mesh, f"/v1/images/{digest}/moderation")
    seen = await mesh.call("GET", f"/v1/images/{digest}/nsfw")
    await mesh.grpc.evaluate([digest])  # the moderation service knows the model's version now
    old = mesh.mesh.pid("nsfw")
    os.kill(old, signal.SIGKILL)
    (verdict,) = await mesh.grpc.evaluate([digest])
    assert list(verdict.verdict.missing) == []
    again = await mesh.call("GET", f"/v1/images/{digest}/nsfw", if_none_match=seen.headers["etag"])
    assert again.status == 304
    assert (await mesh.call("GET", f"/v1/images/{digest}")).status == 200
    await mesh.mesh.wait_restarted("nsfw", old)


async def test_batch_keeps_its_order_after_the_restart(mesh: World):
    """Right after a restart a batch is whole again."""
    digests = [await mesh.upload(jpeg(320, 240, seed=seed)) for seed in range(50, 54)]

    async def whole() -> bool:
        try:
            outcomes = await mesh.grpc.classify([ImageRef(digest=digest) for digest in digests])
        except ModelUnavailable:
            return False
        return [o.digest for o in outcomes if o.HasField("result")] == digests

    await until(whole, "a whole batch")
