"""The graph through Envoy: what is cached, what is asked, and by whom."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services import catalog
from services.client.mesh import MeshClient
from services.serving import tenancy
from tests.support.browser import browse
from tests.support.graph import GraphAnswer, ask, document, get
from tests.support.photos import jpeg
from tests.support.redis import redis_server
from tests.support.whole import PATIENCE_S, World, until, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLICAS = 2
MODELS = tuple(process.name for process in catalog.MODELS)
BATCH_RPCS = {
    "nsfw": "Classify",
    "detection": "Detect",
    "ocr": "Read",
    "logo": "Recognize",
    "moderation": "Moderate",
}
PAGE = """
query ($ids: [ID!]!) {
  images(ids: $ids) {
    id
    nsfw { score }
    detection(minScore: 0.9) { detections { label } }
    all: detection(minScore: 0) { detections { label score } }
    ocr { text }
    logo { logos { brand } }
    moderation { isCompliant rejectionReasons(first: 3) { code } }
  }
}
"""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy that reads all four models."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "default.yaml").write_text(EVERY_MODEL)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[World]:
    """Two replicas of each model."""
    with pytest.MonkeyPatch.context() as environment:
        # A busy machine must not look like an outage.
        environment.setenv("VISIONMESH_REDIS_BUDGET_S", str(PATIENCE_S))
        async with (
            redis_server() as redis,
            world(
                tmp_path_factory.mktemp("mesh"),
                replicas=dict.fromkeys(MODELS, REPLICAS) | {"subgraphs": 2},
                config={"redis_url": redis.url},
                replica_env={("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(policies)}},
            ) as running,
        ):
            yield running


async def counted(mesh: World, process: str, counter: str) -> int:
    """What all replicas of a process have counted together."""
    replicas = mesh.mesh.replicas[process]
    found = [await mesh.counters(process, replica) for replica in range(replicas)]
    return sum(counters.get(counter, 0) for counters in found)


async def rpcs(mesh: World) -> dict[str, int]:
    """How many batch calls each service has seen."""
    return {
        process: await counted(mesh, process, f"calls.{method}")
        for process, method in BATCH_RPCS.items()
    }


async def inferences(mesh: World) -> dict[str, int]:
    return {name: await counted(mesh, name, "inferences") for name in MODELS}


def since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}


async def test_a_page_of_images_is_nine_calls(mesh: World):
    """Four fields and the verdict of a hundred images: nine calls, one look at each by each model.

    Two aliases with different thresholds cost no call, and asking the replicas past Envoy costs no
    second look.
    """
    ids = [await mesh.upload(jpeg(64, 48, seed=seed)) for seed in range(100)]
    calls, looks = await rpcs(mesh), await inferences(mesh)
    answer = await ask(mesh, PAGE, ids=ids)
    assert answer.places == {}
    images = answer.data["images"]
    assert [image["id"] for image in images] == ids
    assert all(image["moderation"]["isCompliant"] is True for image in images)
    assert all(not image["detection"]["detections"] for image in images)
    assert since(calls, await rpcs(mesh)) == dict.fromkeys(MODELS, 2) | {"moderation": 1}
    assert since(looks, await inferences(mesh)) == dict.fromkeys(MODELS, len(ids))
    refs = [ImageRef(digest=digest) for digest in ids]
    for replica in range(REPLICAS):
        port = catalog.BY_NAME["nsfw"].port(mesh.mesh.options.port, replica)
        async with MeshClient(f"127.0.0.1:{port}", token=mesh.mesh.token) as past_envoy:
            tenancy.act_for(tenancy.LOCAL)
            outcomes = await past_envoy.classify(refs)
        assert [outcome.result.score for outcome in outcomes] == pytest.approx(
            [image["nsfw"]["score"] for image in images], abs=1e-6
        )
    assert since(looks, await inferences(mesh)) == dict.fromkeys(MODELS, len(ids))


async def test_a_pinned_get_is_answered_by_envoy(mesh: World):
    """Of two GETs that name the release the second asks nobody; of fifty at once all but one."""
    digest = await mesh.upload(jpeg(64, 48, seed=200))
    first = await get(mesh, document("Verdict"), id=digest)
    pinned = first.headers["content-location"]
    asked = mesh.requests_to("gateway")
    answers = await asyncio.gather(*(mesh.call("GET", pinned) for _ in range(50)))
    assert mesh.requests_to("gateway") - asked == 1
    assert {answer.body for answer in answers} == {first.body}
    again = await mesh.call("GET", pinned)
    assert again.headers["cache-control"] == "max-age=31536000, s-maxage=60, immutable"
    assert mesh.requests_to("gateway") - asked == 1


async def test_fifty_first_gets_are_one_execution(mesh: World):
    """Fifty first GETs that name no release are one call a model and one look at the image."""
    digest = await mesh.upload(jpeg(64, 48, seed=201))
    calls, looks = await rpcs(mesh), await inferences(mesh)
    answers = await asyncio.gather(*(get(mesh, document("Analysis"), id=digest) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert since(looks, await inferences(mesh)) == dict.fromkeys(MODELS, 1)
    assert since(calls, await rpcs(mesh)) == dict.fromkeys(MODELS, 1) | {"moderation": 0}


async def test_an_unpinned_get_is_revalidated(mesh: World):
    """Envoy asks each time, and the answer is 304: no call, no look."""
    digest = await mesh.upload(jpeg(64, 48, seed=202))
    first = await get(mesh, document("Verdict"), id=digest)
    assert first.headers["cache-control"] == "no-cache"
    calls, looks, asked = await rpcs(mesh), await inferences(mesh), mesh.requests_to("gateway")
    second = await get(mesh, document("Verdict"), id=digest)
    assert (second.status, second.body) == (200, first.body)
    assert second.headers["etag"] == first.headers["etag"]
    assert mesh.requests_to("gateway") - asked == 1
    assert mesh.stats(r"^cluster\.gateway\.upstream_rq_304$")["cluster.gateway.upstream_rq_304"] > 0
    tag = first.headers["etag"]
    mine = await get(mesh, document("Verdict"), headers={"if_none_match": tag}, id=digest)
    assert mine.status == 304
    assert since(looks, await inferences(mesh)) == dict.fromkeys(MODELS, 0)
    assert set(since(calls, await rpcs(mesh)).values()) == {0}


async def test_an_answer_with_an_error_is_not_kept(mesh: World):
    """One unknown image among known ones is an error at its place, and nothing is stored."""
    known = await mesh.upload(jpeg(64, 48, seed=203))
    ids = [known, "f" * 64, "no digest"]
    for _ in range(2):
        asked = mesh.requests_to("gateway")
        answer = await get(mesh, document("Verdicts"), ids=ids)
        assert mesh.requests_to("gateway") - asked == 1
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
        body = answer.json
        assert body["data"]["images"][0]["moderation"]["isCompliant"] is True
        assert body["data"]["images"][1:] == [None, None]
        assert {(*error["path"], error["extensions"]["code"]) for error in body["errors"]} == {
            ("images", 1, "IMAGE_NOT_FOUND"),
            ("images", 2, "INVALID_ARGUMENT"),
        }
        assert {error["extensions"]["traceId"] for error in body["errors"]} == {
            answer.headers["x-trace-id"]
        }


async def test_a_release_that_is_not_the_current_one(mesh: World):
    """A release that nobody named is an error; a header pins as the URL does."""
    digest = await mesh.upload(jpeg(64, 48, seed=204))
    first = await get(mesh, document("Verdict"), id=digest)
    release = (await mesh.call("GET", "/v1/releases/current")).json["release"]
    assert f"release={release}" in first.headers["content-location"]
    by_header = await get(
        mesh, document("Verdict"), headers={"visionmesh_release": release}, id=digest
    )
    assert by_header.body == first.body
    assert by_header.headers["cache-control"] == "max-age=31536000, s-maxage=60, immutable"
    unknown = await get(mesh, document("Verdict"), release="0" * 16, id=digest)
    assert [error["extensions"]["code"] for error in unknown.json["errors"]] == [
        "RELEASE_NOT_FOUND"
    ]
    assert unknown.headers["cache-control"] == "no-store"


async def test_graphiql_in_a_browser(mesh: World, tmp_path: Path):
    """Chromium shows GraphiQL with the example queries, and loads nothing from elsewhere."""
    page, console = await browse(f"{mesh.mesh.edge_url}/graphql", tmp_path / "profile")
    assert console == []
    # As attributes and text they are there only when the page's script has run.
    assert '<div class="graphiql-container' in page
    assert ">Verdict<" in page


async def test_a_changed_policy_changes_the_next_answer(mesh: World, policies: Path):
    """A new release answers an unpinned GET; the old one's pinned answer stays what it was."""
    digest = await mesh.upload(jpeg(64, 48, seed=205))
    before = await get(mesh, document("Verdict"), id=digest)
    (policies / "default.yaml").write_text(REJECTS_ALL)
    os.kill(mesh.mesh.pid("moderation"), signal.SIGHUP)

    async def changed() -> GraphAnswer | None:
        answer = await get(mesh, document("Verdict"), id=digest)
        # In between, an answer may be of the new policy and have no name yet.
        named = answer.headers.get("content-location", "")
        return answer if named not in ("", before.headers["content-location"]) else None

    after = await until(changed, "a verdict of the new release")
    assert after.data["image"]["moderation"]["isCompliant"] is False
    assert after.headers["etag"] != before.headers["etag"]
    old = await mesh.call("GET", before.headers["content-location"])
    assert (old.status, old.body) == (200, before.body)


REJECTS_ALL = """
rules:
  - {code: ANY, severity: low, message: Whatever it is., when: nsfw.score >= 0.0}
"""

EVERY_MODEL = """
rules:
  - {code: NUDITY, severity: high, message: Nudity., when: nsfw.score >= 0.99}
  - {code: GUN, severity: low, message: Gun., when: size(detection.detections) > 1000}
  - {code: WORDS, severity: low, message: Words., when: size(ocr.lines) > 1000}
  - {code: LOGO, severity: low, message: Logo., when: size(logo.logos) > 1000}
"""
