"""Two tenants on one mesh: each sees its own, and a deletion leaves nothing of the last one's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis import Redis

from services.media.store import image_folder
from services.serving.tenancy import TENANT_HEADER, TOKEN_HEADER
from tests.support.graph import ask, document, get
from tests.support.photos import jpeg
from tests.support.redis import redis_server
from tests.support.whole import Answer, World, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

GONE_WITHIN_S = 60.0
"""What is promised: how long any cache may still know a deleted image."""

PATHS = ("", "/nsfw", "/moderation")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with (
        redis_server() as redis,
        world(
            tmp_path_factory.mktemp("mesh"),
            tenants=("acme", "globex"),
            replicas={"nsfw": 2},
            config={"redis_url": redis.url},
        ) as running,
    ):
        yield running


def redis_of(mesh: World) -> Redis:
    return Redis.from_url(mesh.mesh.redis_url)


def traces_of(mesh: World, digest: str) -> list[str]:
    """What is left of an image in the store and in Redis, but for the marks that it was deleted."""
    objects = mesh.mesh.data.root / "objects"
    found = [*objects.rglob(f"*{digest}*"), *(objects / image_folder(digest)).glob("*")]
    left = [str(path.relative_to(objects)) for path in found]
    with redis_of(mesh) as redis:
        left += [key.decode() for key in redis.scan_iter(f"*{digest}*")]
    return [trace for trace in left if "tombstone" not in trace and "gone" not in trace]


async def test_without_a_key_nothing_is_answered(mesh: World):
    """Missing, wrong and revoked keys get one and the same problem."""
    revoked = mesh.create_key("acme")

    async def ask(key: str = "") -> Answer:
        headers = {"x-api-key": key} if key else {}
        return await mesh.call("GET", "/v1/models", data=None, tenant="", **headers)

    async with asyncio.timeout(GONE_WITHIN_S):
        while (await ask(revoked)).status != 200:  # noqa: ASYNC110, Envoy meets it
            await asyncio.sleep(0.02)
        mesh.revoke_key(revoked)
        while (await ask(revoked)).status == 200:  # noqa: ASYNC110, Envoy meets it
            await asyncio.sleep(0.02)
    answers = [await ask(), await ask("vmk_wrong"), await ask(revoked)]
    problems = []
    for answer in answers:
        assert answer.status == 401
        assert "www-authenticate" in answer.headers
        problem = answer.json
        assert problem.pop("traceId") == answer.headers["x-trace-id"]
        problems.append(problem)
    assert problems[0] == problems[1] == problems[2]
    assert problems[0]["code"] == "UNAUTHENTICATED"


async def test_a_client_cannot_name_its_tenant(mesh: World):
    """Headers that mean something inside are taken from Envoy alone."""
    digest = await mesh.upload(jpeg(320, 240, seed=20), tenant="acme")
    claims = {TENANT_HEADER: "acme", TOKEN_HEADER: "guess"}
    answer = await mesh.call("GET", f"/v1/images/{digest}", data=None, tenant="globex", **claims)
    assert answer.status == 404
    nobody = await mesh.call("GET", f"/v1/images/{digest}", data=None, tenant="", **claims)
    assert nobody.status == 401


async def test_what_others_have_is_unknown(mesh: World):
    """Another tenant's image is answered as one that nobody has, by every API."""
    theirs = await mesh.upload(jpeg(320, 240, seed=21), tenant="acme")
    await mesh.call("GET", f"/v1/images/{theirs}/nsfw", tenant="acme")
    unknown = "0" * 64
    for method in ("HEAD", "GET", "DELETE"):
        for path in PATHS if method == "GET" else PATHS[:1]:
            answers = [
                await mesh.call(method, f"/v1/images/{digest}{path}", tenant="globex")
                for digest in (theirs, unknown)
            ]
            assert [answer.status for answer in answers] == [404, 404]
            if method == "HEAD":
                continue
            first, second = (answer.json for answer in answers)
            for problem, digest in ((first, theirs), (second, unknown)):
                del problem["traceId"]
                problem["detail"] = problem["detail"].replace(digest, "ID")
            assert {**first, "instance": ""} == {**second, "instance": ""}
    async with mesh.client("globex") as client:
        outcomes = await client.classify([ImageRef(digest=theirs), ImageRef(digest=unknown)])
        verdicts = await client.moderate([ImageRef(digest=theirs), ImageRef(digest=unknown)])
        stored = await client.evaluate([theirs, unknown])
    for pair in (outcomes, verdicts, stored):
        assert [one.HasField("error") for one in pair] == [True, True]
        assert pair[0].error.code == pair[1].error.code


async def test_the_same_path_has_two_answers(mesh: World):
    """A cached answer of one tenant is never another's."""
    digest = await mesh.upload(jpeg(320, 240, seed=22), tenant="acme")
    path = f"/v1/images/{digest}/nsfw"
    first = await mesh.call("GET", path, tenant="acme")
    pinned = first.headers["content-location"]
    for asked in (path, pinned, pinned):
        assert (await mesh.call("GET", asked, tenant="acme")).status == 200
        assert (await mesh.call("GET", asked, tenant="globex")).status == 404


async def test_a_deletion_leaves_others_theirs(mesh: World):
    """One tenant deletes, the other still has it; when that deletes too, nothing is left at all."""
    photo = jpeg(640, 480, seed=23)
    created = []
    for tenant in ("acme", "globex"):
        answer = await mesh.call(
            "POST", "/v1/images", data=photo, tenant=tenant, content_type="image/jpeg"
        )
        created.append(answer)
    assert [answer.status for answer in created] == [201, 201]  # new to each of them
    digest: str = created[0].json["id"]
    path = f"/v1/images/{digest}"
    scores = [
        (await mesh.call("GET", f"{path}/nsfw", tenant=tenant)).json["nsfw"]
        for tenant in ("acme", "globex")
    ]
    assert scores[0] == scores[1]

    assert (await mesh.call("DELETE", path, tenant="acme")).status == 204
    for suffix in PATHS:
        assert (await mesh.call("GET", path + suffix, tenant="acme")).status == 404
        assert (await mesh.call("GET", path + suffix, tenant="globex")).status == 200
    assert (await mesh.call("DELETE", path, tenant="acme")).status == 404

    pinned = (await mesh.call("GET", f"{path}/nsfw", tenant="globex")).headers["content-location"]
    assert (await mesh.call("GET", pinned, tenant="globex")).status == 200
    deleted_at = time.monotonic()
    assert (await mesh.call("DELETE", path, tenant="globex")).status == 204
    for suffix in PATHS:
        for tenant in ("acme", "globex"):
            assert (await mesh.call("GET", path + suffix, tenant=tenant)).status == 404
    async with mesh.client("globex") as client:
        assert (await client.classify([ImageRef(digest=digest)]))[0].HasField("error")
    assert traces_of(mesh, digest) == []
    # What named the release may be answered by shared caches for a minute, and no longer.
    async with asyncio.timeout(GONE_WITHIN_S + 5):
        while (await mesh.call("GET", pinned, tenant="globex")).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    assert time.monotonic() - deleted_at < GONE_WITHIN_S + 5


async def test_a_deletion_overtakes_an_inference(mesh: World):
    """Images deleted while a model looks at them leave nothing behind, in no tier."""
    digests = [
        await mesh.upload(jpeg(640, 480, seed=seed), tenant="acme") for seed in range(30, 42)
    ]

    async def look_and_delete(digest: str) -> None:
        looking = asyncio.create_task(mesh.call("GET", f"/v1/images/{digest}/nsfw", tenant="acme"))
        await asyncio.sleep(0)
        deleted = await mesh.call("DELETE", f"/v1/images/{digest}", tenant="acme")
        assert deleted.status == 204
        assert (await looking).status in (200, 404)

    await asyncio.gather(*map(look_and_delete, digests))
    for digest in digests:
        assert traces_of(mesh, digest) == []
        assert (await mesh.call("GET", f"/v1/images/{digest}/nsfw", tenant="acme")).status == 404


async def test_the_graph_keeps_tenants_apart(mesh: World):
    """A tenant's image is nobody else's in the graph either, and neither is a stored answer."""
    digest = await mesh.upload(jpeg(64, 48, seed=900), tenant="acme")
    first = await get(mesh, document("Verdict"), tenant="acme", id=digest)
    assert first.places == {}
    pinned = first.headers["content-location"]
    assert (await mesh.call("GET", pinned, tenant="acme")).body == first.body
    for path in (pinned, pinned.partition("&release")[0]):
        answer = await mesh.call("GET", path, tenant="globex", if_none_match=first.headers["etag"])
        assert answer.status in (200, 400)
        assert b"isCompliant" not in answer.body
    theirs = await get(mesh, document("Verdict"), tenant="globex", id=digest)
    assert theirs.places == {("image",): "IMAGE_NOT_FOUND"}
    assert theirs.headers["cache-control"] == "no-store"


async def test_the_graph_needs_a_key(mesh: World):
    """Without a key there is GraphiQL's page and nothing else; tenants cannot be claimed."""
    assert (await mesh.call("GET", "/graphql", tenant="", accept="text/html")).status == 200
    for headers in ({}, {TENANT_HEADER: "acme", TOKEN_HEADER: "x"}, {"x-api-key": "vmk_wrong"}):
        names = {name.replace("-", "_"): value for name, value in headers.items()}
        answer = await ask(mesh, "{ models { name } }", tenant="", headers=names)
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHENTICATED")
