"""A rolling update: two versions of a model at once, each under the name of its own release."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.photos import jpeg
from tests.support.whole import World, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGES = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(
        tmp_path_factory.mktemp("mesh"),
        replicas={"nsfw": 2},
        replica_env={("nsfw", 1): {"VISIONMESH_DECODE_MIN_SIDE": "256"}},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def digests(mesh: World) -> list[str]:
    return [await mesh.upload(jpeg(1600, 1200, seed=seed)) for seed in range(IMAGES)]


async def test_an_answer_names_what_made_it(mesh: World, digests: list[str]):
    """Half of the images are looked at by either version, and the release says by which."""
    releases: dict[str, set[str]] = {}
    for digest in digests:
        answer = (await mesh.call("GET", f"/v1/images/{digest}/nsfw")).json
        releases.setdefault(answer["model"]["version"], set()).add(answer["release"])
        named = (await mesh.call("GET", f"/v1/releases/{answer['release']}")).json
        assert {"name": "nsfw", "version": answer["model"]["version"]} in named["models"]
    assert len(releases) == 2, "both replicas were asked"
    assert all(len(names) == 1 for names in releases.values())
    assert not set.intersection(*releases.values())


async def test_a_verdict_names_what_made_it(mesh: World, digests: list[str]):
    """A verdict's release has the version of the model that it rests on, over gRPC and REST."""
    seen: dict[str, set[str]] = {}
    for digest in digests:
        (outcome,) = await mesh.grpc.moderate([ImageRef(digest=digest)])
        version = outcome.verdict.model_versions["nsfw"]
        seen.setdefault(version, set()).add(outcome.verdict.release)
        answer = (await mesh.call("GET", f"/v1/images/{digest}/moderation")).json
        assert answer["release"] in seen[answer["models"][0]["version"]]
    assert len(seen) == 2, "both replicas were asked"
    for version, names in seen.items():
        (name,) = names
        parts = (await mesh.call("GET", f"/v1/releases/{name}")).json
        assert {"name": "nsfw", "version": version} in parts["models"]


async def test_a_pin_gives_only_its_own(mesh: World, digests: list[str]):
    """Whichever replica is asked first, a pinned answer is made by the version it names."""
    released = {}
    for digest in digests:
        answer = (await mesh.call("GET", f"/v1/images/{digest}/nsfw")).json
        released[answer["release"]] = answer["model"]["version"]
    assert len(released) == 2
    scores: dict[str, list[float]] = {}
    for release, version in released.items():
        for digest in digests:
            path = f"/v1/images/{digest}/nsfw?release={release}"
            answer = await mesh.call("GET", path)
            assert answer.status == 200
            assert answer.headers["cache-control"] == "max-age=31536000, s-maxage=60, immutable"
            assert answer.headers["content-location"] == path
            assert answer.json["release"] == release
            assert answer.json["model"]["version"] == version
            scores.setdefault(release, []).append(answer.json["nsfw"]["score"])
            verdict = await mesh.call("GET", f"/v1/images/{digest}/moderation?release={release}")
            assert verdict.json["release"] == release
            assert verdict.json["models"] == [{"name": "nsfw", "version": version}]
    first, second = scores.values()
    assert first != second, "the versions differ in what they see"


async def test_a_release_that_nobody_named(mesh: World, digests: list[str]):
    """A made-up release is unknown, and a malformed one is refused."""
    for suffix in ("nsfw", "moderation"):
        path = f"/v1/images/{digests[0]}/{suffix}?release="
        unknown = await mesh.call("GET", path + "0123456789abcdef")
        assert (unknown.status, unknown.json["code"]) == (404, "RELEASE_NOT_FOUND")
        assert "etag" not in unknown.headers
        malformed = await mesh.call("GET", path + "v1")
        assert (malformed.status, malformed.json["field"]) == (400, "release")


async def test_a_release_that_is_served_no_more(
    mesh: World, tmp_path_factory: pytest.TempPathFactory
):
    """What it has stored is answered for ever, everything else is 404 and never another's."""
    folder = tmp_path_factory.mktemp("served-no-more")
    async with world(folder) as before:
        known = await before.upload(jpeg(1600, 1200, seed=100))
        unseen = await before.upload(jpeg(1600, 1200, seed=101))
        answer = await before.call("GET", f"/v1/images/{known}/nsfw")
    release = answer.json["release"]
    other = {("nsfw", 0): {"VISIONMESH_DECODE_MIN_SIDE": "256"}}
    async with world(folder, replica_env=other) as after:
        assert (await after.call("GET", f"/v1/images/{known}/nsfw")).json["release"] != release
        pinned = await after.call("GET", f"/v1/images/{known}/nsfw?release={release}")
        assert (pinned.status, pinned.json) == (200, answer.json)
        missing = await after.call("GET", f"/v1/images/{unseen}/nsfw?release={release}")
        assert (missing.status, missing.json["code"]) == (404, "RESULT_NOT_FOUND")
        verdict = await after.call("GET", f"/v1/images/{unseen}/moderation?release={release}")
        assert verdict.json["decision"] == "UNDETERMINED"
        assert verdict.headers["cache-control"] == "no-store"
