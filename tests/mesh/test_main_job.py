"""The main job on a whole mesh: a photo in, a verdict out, and a second look from the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.limits import MAX_INLINE_BYTES
from tests.support.mesh import digests
from tests.support.photos import jpeg
from tests.support.whole import World, world
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import DECISION_APPROVED

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("mesh")) as running:
        yield running


async def inferences(mesh: World) -> int:
    return (await mesh.counters("nsfw")).get("inferences", 0)


async def test_a_photo_in_a_verdict_out(mesh: World):
    """One request with a photo's bytes is answered with its verdict."""
    answer = await mesh.call(
        "POST", "/v1/moderations", data=jpeg(640, 480, seed=1), content_type="image/jpeg"
    )
    assert answer.status == 200
    assert answer.json["isCompliant"] is True
    assert answer.json["rejectionReasons"] == []
    assert answer.json["missing"] == []
    assert len(answer.headers["x-trace-id"]) == 32


async def test_the_same_bytes_are_the_same_image(mesh: World):
    """A second upload of the same bytes is the same id, and creates nothing."""
    photo = jpeg(640, 480, seed=2)
    first = await mesh.call("POST", "/v1/images", data=photo, content_type="image/jpeg")
    second = await mesh.call("POST", "/v1/images", data=photo, content_type="image/jpeg")
    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]


@pytest.mark.parametrize(("answer_of", "seed"), [("nsfw", 31), ("moderation", 32)])
async def test_second_look_runs_no_model(mesh: World, answer_of: str, seed: int):
    """A second GET is revalidated: Envoy keeps the body, no model service is asked anything."""
    digest = await mesh.upload(jpeg(640, 480, seed=seed))
    path = f"/v1/images/{digest}/{answer_of}"
    first = await mesh.call("GET", path)
    assert first.status == 200
    assert first.headers["cache-control"] == "no-cache"
    models_before = mesh.requests_to("nsfw") + mesh.requests_to("moderation")
    cluster = r"^cluster\.rest\.upstream_rq_304$"
    revalidated_before = sum(mesh.stats(cluster).values())
    second = await mesh.call("GET", path)
    asked_about_versions = 2  # GetModel and ListPolicies, when what is remembered has aged
    models_asked = mesh.requests_to("nsfw") + mesh.requests_to("moderation") - models_before
    assert (second.status, second.body) == (200, first.body)
    assert sum(mesh.stats(cluster).values()) == revalidated_before + 1
    assert models_asked <= asked_about_versions
    assert second.headers["x-trace-id"] != first.headers["x-trace-id"]


async def test_client_revalidates_without_a_model(mesh: World):
    """A client that sends the entity tag back gets 304, and no model is asked for a result."""
    digest = await mesh.upload(jpeg(640, 480, seed=4))
    path = f"/v1/images/{digest}/nsfw"
    first = await mesh.call("GET", path)
    again = await mesh.call("GET", path, if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


async def test_results_are_stored_once(mesh: World):
    """The first look infers, the next ones find the stored result; a verdict needs no more."""
    digest = await mesh.upload(jpeg(640, 480, seed=5))
    ref = ImageRef(digest=digest)
    before = await inferences(mesh)
    first, second = [(await mesh.grpc.classify([ref]))[0] for _ in range(2)]
    assert first == second
    (verdict,) = await mesh.grpc.evaluate([digest])
    assert verdict.verdict.decision == DECISION_APPROVED
    assert await inferences(mesh) - before == 1


async def test_evaluate_runs_no_model(mesh: World):
    """What is not stored is missing for Evaluate, and is not made."""
    digest = await mesh.upload(jpeg(640, 480, seed=6))
    before = await inferences(mesh)
    (verdict,) = await mesh.grpc.evaluate([digest])
    assert list(verdict.verdict.missing) == ["nsfw"]
    assert await inferences(mesh) == before


async def test_a_batch_has_one_outcome_each(mesh: World):
    """Good, unknown and repeated references of one batch come back in order."""
    first, second = [await mesh.upload(jpeg(320, 240, seed=seed)) for seed in (7, 8)]
    unknown = digests(1)[0]
    outcomes = await mesh.grpc.moderate(
        [ImageRef(digest=digest) for digest in (first, unknown, second, first)]
    )
    assert [outcome.WhichOneof("outcome") for outcome in outcomes] == [
        "verdict",
        "error",
        "verdict",
        "verdict",
    ]


async def test_deleted_is_gone(mesh: World):
    """After a deletion nothing of the image is answered, also not by a cache."""
    digest = await mesh.upload(jpeg(640, 480, seed=9))
    path = f"/v1/images/{digest}/nsfw"
    first = await mesh.call("GET", path)
    assert (await mesh.call("DELETE", f"/v1/images/{digest}")).status == 204
    plain = await mesh.call("GET", path)
    revalidating = await mesh.call("GET", path, if_none_match=first.headers["etag"])
    for gone in (plain, revalidating):
        assert gone.status == 404
        assert gone.json["code"] == "IMAGE_NOT_FOUND"
        assert gone.json["traceId"] == gone.headers["x-trace-id"]
    outcomes = await mesh.grpc.classify([ImageRef(digest=digest)])
    assert outcomes[0].HasField("error")


async def test_largest_inline_call_passes_every_hop(mesh: World):
    """A call with as many inline bytes as are allowed reaches the service through Envoy."""
    filler = bytes(MAX_INLINE_BYTES // 2)
    outcomes = await mesh.grpc.classify(
        [ImageRef(digest=digest, data=filler) for digest in digests(2)]
    )
    assert all("DIGEST_MISMATCH" in str(outcome.error.details) for outcome in outcomes)
