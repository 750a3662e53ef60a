"""Releases: named in every answer, asked for by name, and never mixed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services import errors
from services.rest.answers import PINNED
from tests.rest.world import DEFAULT, WAIT_S, World, world
from tests.support import photos

NEW = "fedcba9876543210"
MADE_UP = "0123456789abcdef"
KINDS = ("nsfw", "moderation")


def models_of(rest: World) -> list[dict[str, str]]:
    """The models of a release of now."""
    models = (rest.detector, rest.recognizing.model, rest.model, rest.reader)
    return [{"name": model.name, "version": model.version} for model in models]


async def test_parts(rest: World, jpeg: bytes):
    """The current release is all models' versions, the gallery's and the policies', by name."""
    await rest.get(f"/v1/images/{await rest.upload(jpeg)}/moderation")
    current = await rest.get("/v1/releases/current")
    release = current.json
    assert release["models"] == models_of(rest)
    assert release["gallery"] == {"revision": rest.recognizing.recognition.revision}
    policies = (await rest.get("/v1/policies?fields=policies(name,version)")).json["policies"]
    assert release["policies"] == policies
    assert current.headers["Cache-Control"] == "no-cache"
    assert current.headers["Content-Location"] == f"/v1/releases/{release['release']}"
    named = await rest.get(current.headers["Content-Location"])
    assert named.body == current.body
    assert named.headers["Cache-Control"] == PINNED
    again = await rest.get(current.headers["Content-Location"], If_None_Match=named.headers["ETag"])
    assert (again.status, again.headers["Cache-Control"]) == (304, PINNED)


async def test_fields_of_a_release(rest: World):
    """`fields` selects of a release as of everything, and its place says so."""
    answer = await rest.get("/v1/releases/current?fields=models/name,release")
    names = [model["name"] for model in answer.json["models"]]
    assert names == ["detection", "logo", "nsfw", "ocr"]
    place = f"/v1/releases/{answer.json['release']}?fields=release,models(name)"
    assert answer.headers["Content-Location"] == place
    assert (await rest.get(place)).body == answer.body


@pytest.mark.parametrize("what", KINDS)
async def test_answers_name_their_release(rest: World, jpeg: bytes, what: str):
    """An answer says which release made it and where it is pinned; there it is for good."""
    path = f"/v1/images/{await rest.upload(jpeg)}/{what}"
    answer = await rest.get(path)
    release = answer.json["release"]
    assert answer.headers["Content-Location"] == f"{path}?release={release}"
    pinned = await rest.get(answer.headers["Content-Location"])
    assert (pinned.status, pinned.body) == (200, answer.body)
    assert pinned.headers["Cache-Control"] == PINNED
    assert pinned.headers["Content-Location"] == answer.headers["Content-Location"]
    assert pinned.headers["ETag"] == answer.headers["ETag"]
    assert rest.model.predictions == 1
    parts = (await rest.get(f"/v1/releases/{release}")).json
    assert parts["models"] == models_of(rest)


@pytest.mark.parametrize("what", KINDS)
async def test_not_modified_says_the_same(rest: World, jpeg: bytes, what: str):
    """A 304 has the headers of the answer that it stands for, pinned or not."""
    path = f"/v1/images/{await rest.upload(jpeg)}/{what}"
    place = (await rest.get(path)).headers["Content-Location"]
    rest.nsfw.error = errors.Unavailable("down")
    for url in (path, place):
        answer = await rest.get(url)
        for tag in (answer.headers["ETag"], "*"):
            again = await rest.get(url, If_None_Match=tag)
            assert again.status == 304
            for name in ("ETag", "Cache-Control", "Content-Location"):
                assert again.headers[name] == answer.headers[name]


async def test_places_are_canonical(rest: World, jpeg: bytes):
    """However a question is written, its place is one: sorted, and without what is default."""
    path = f"/v1/images/{await rest.upload(jpeg)}/moderation"
    queries = (
        "policy=default&fields=decision,release",
        "fields=release,decision&fields=release,decision",
        "fields=decision%2Crelease&policy=default",
    )
    answers = [await rest.get(f"{path}?{query}") for query in queries]
    [place] = {answer.headers["Content-Location"] for answer in answers}
    release = answers[0].json["release"]
    assert place == f"{path}?fields=release,decision&release={release}"
    strict = await rest.get(f"{path}?policy=strict")
    assert strict.headers["Content-Location"].startswith(f"{path}?policy=strict&release=")


@pytest.mark.parametrize("query", ["", "?policy=strict", "?fields=decision,release"])
async def test_place_of_new_bytes(rest: World, jpeg: bytes, query: str):
    """Bytes that are stored and judged in one call have their verdict at a pinned place."""
    answer = await rest.post(f"/v1/moderations{query}", jpeg)
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"release={answer.json['release']}" in answer.headers["Content-Location"]
    pinned = await rest.get(answer.headers["Content-Location"])
    assert (pinned.body, pinned.headers["Cache-Control"]) == (answer.body, PINNED)


@pytest.mark.parametrize("what", KINDS)
async def test_made_up_release(rest: World, jpeg: bytes, what: str):
    """A release that was never named is not found, and a name that can be none is refused."""
    path = f"/v1/images/{await rest.upload(jpeg)}/{what}"
    unknown = await rest.get(f"{path}?release={MADE_UP}")
    assert (unknown.status, unknown.json["code"]) == (404, "RELEASE_NOT_FOUND")
    assert unknown.json["field"] == "release"
    for name in ("current", MADE_UP.upper(), MADE_UP + "0", "..%2f..%2fmeta"):
        refused = await rest.get(f"{path}?release={name}")
        assert (refused.status, refused.json["field"]) == (400, "release")
        assert refused.json["limit"] == "16 hexadecimal digits"
    assert rest.model.predictions == 0


async def test_release_that_is_not_there(rest: World):
    """By its own URL as well."""
    unknown = await rest.get(f"/v1/releases/{MADE_UP}")
    assert (unknown.status, unknown.json["code"]) == (404, "RELEASE_NOT_FOUND")
    refused = await rest.get("/v1/releases/latest")
    assert (refused.status, refused.json["field"]) == (400, "release")


async def test_release_that_is_not_served_any_more(tmp_path: Path, jpeg: bytes):
    """An exchanged model's results stay under their release; what it never saw is not found."""
    async with world(tmp_path, versions_ttl_s=0.0) as rest:
        path = f"/v1/images/{await rest.upload(jpeg)}"
        old = await rest.get(f"{path}/nsfw")
        rest.new_version(NEW)
        rest.model.score = 0.9
        new = await rest.get(f"{path}/nsfw")
        assert new.json["release"] != old.json["release"]
        assert new.headers["ETag"] != old.headers["ETag"]
        assert (await rest.get(old.headers["Content-Location"])).body == old.body
        assert (await rest.get(new.headers["Content-Location"])).body == new.body

        pin = f"release={old.json['release']}"
        verdict = await rest.get(f"{path}/moderation?{pin}")
        assert verdict.json["decision"] == "APPROVED"
        assert verdict.json["models"] == [old.json["model"]]
        assert (await rest.get(f"{path}/moderation")).json["decision"] == "REJECTED"

        unseen = f"/v1/images/{await rest.upload(photos.jpeg(64, 50))}"
        score = await rest.get(f"{unseen}/nsfw?{pin}")
        assert (score.status, score.json["code"]) == (404, "RESULT_NOT_FOUND")
        assert score.headers["Cache-Control"] == "no-store"
        verdict = await rest.get(f"{unseen}/moderation?{pin}")
        assert verdict.json["decision"] == "UNDETERMINED"
        assert rest.model.predictions == 2


async def test_pinned_and_incomplete(rest: World, jpeg: bytes):
    """A verdict that is not determined is not kept, although its release is named."""
    path = f"/v1/images/{await rest.upload(jpeg)}/moderation"
    release = (await rest.get("/v1/releases/current")).json["release"]
    rest.nsfw.error = errors.Unavailable("down")
    for url in (path, f"{path}?release={release}"):
        for tag in ('"other"', "*"):
            answer = await rest.get(url, If_None_Match=tag)
            assert (answer.status, answer.json["decision"]) == (200, "UNDETERMINED")
            assert answer.headers["Cache-Control"] == "no-store"
            assert "ETag" not in answer.headers
    rest.nsfw.error = None
    assert (await rest.get(f"{path}?release={release}")).headers["Cache-Control"] == PINNED


@pytest.mark.parametrize("what", KINDS)
async def test_deleted_is_gone_under_every_release(rest: World, jpeg: bytes, what: str):
    """Existence comes before every pinned answer, also before its 304."""
    path = f"/v1/images/{await rest.upload(jpeg)}"
    answer = await rest.get(f"{path}/{what}")
    await rest.ask("DELETE", path)
    for header in (answer.headers["ETag"], "*", '"other"'):
        gone = await rest.get(answer.headers["Content-Location"], If_None_Match=header)
        assert (gone.status, gone.json["code"]) == (404, "IMAGE_NOT_FOUND")


async def test_two_versions_at_once(tmp_path: Path):
    """While two versions of a model answer, each answer names the one that made it."""
    async with world(tmp_path, versions_ttl_s=60.0) as rest:
        versions = {}
        for height in range(40, 48):
            image_id = await rest.upload(photos.jpeg(64, height))
            rest.model.version = NEW if height % 2 else MADE_UP
            for what in KINDS:
                answer = (await rest.get(f"/v1/images/{image_id}/{what}")).json
                versions[answer["release"]] = rest.model.version
                parts = (await rest.get(f"/v1/releases/{answer['release']}")).json
                assert parts["models"] == models_of(rest)
        assert sorted(versions.values()) == sorted([NEW, MADE_UP])


async def test_lost_model(rest: World, jpeg: bytes):
    """While the model is lost, images that it saw keep their score, and only those."""
    path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
    unseen = f"/v1/images/{await rest.upload(photos.jpeg(64, 50))}/nsfw"
    answer = await rest.get(path)
    pin = f"release={answer.json['release']}"
    for lost in (errors.Unavailable("down"), errors.Overloaded("busy"), RuntimeError("broken")):
        rest.nsfw.error = lost
        for url in (path, f"{path}?{pin}"):
            again = await rest.get(url)
            assert (again.status, again.body) == (200, answer.body)
            assert again.headers["ETag"] == answer.headers["ETag"]
    rest.nsfw.error = errors.Unavailable("down")
    for url in (unseen, f"{unseen}?{pin}"):
        refused = await rest.get(url)
        assert (refused.status, refused.json["code"]) == (503, "MODEL_UNAVAILABLE")
    unknown = await rest.get(f"/v1/images/{'0' * 64}/nsfw")
    assert (unknown.status, unknown.json["code"]) == (404, "IMAGE_NOT_FOUND")


async def test_hanging_model(tmp_path: Path, jpeg: bytes):
    """A model that hangs costs its client's time, and no stored score."""
    async with world(tmp_path, versions_ttl_s=60.0) as rest:
        path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
        answer = await rest.get(path)
        rest.nsfw.hanging = True
        again = await rest.get(path, x_request_timeout_ms="3000")
        assert (again.status, again.body) == (200, answer.body)


@pytest.mark.parametrize("what", KINDS)
async def test_lost_mesh(rest: World, jpeg: bytes, what: str):
    """What the store alone can say is said without any service: a 304, and a stored score."""
    path = f"/v1/images/{await rest.upload(jpeg)}/{what}"
    answer = await rest.get(path)
    await rest.lose_mesh()
    assert (await rest.get(path, If_None_Match=answer.headers["ETag"])).status == 304
    assert (await rest.get(path)).status == (200 if what == "nsfw" else 503)


async def test_lost_model_of_another_version(tmp_path: Path, jpeg: bytes):
    """What a lost model never made is not worth waiting for when it was another version."""
    async with world(tmp_path, versions_ttl_s=0.0) as rest:
        path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
        release = (await rest.get("/v1/releases/current")).json["release"]
        rest.new_version(NEW)
        assert (await rest.get("/v1/models/nsfw")).json["version"] == NEW
        rest.nsfw.error = errors.Unavailable("down")
        answer = await rest.get(f"{path}?release={release}")
        assert (answer.status, answer.json["code"]) == (404, "RESULT_NOT_FOUND")


async def test_lost_model_and_what_it_could_not_look_at(rest: World, jpeg: bytes):
    """That a model could not look at an image stays known as well."""
    path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
    rest.model.error = errors.CorruptImage("the image cannot be decoded")
    assert (await rest.get(path)).json["code"] == "CORRUPT_IMAGE"
    rest.nsfw.error = errors.Unavailable("down")
    answer = await rest.get(path)
    assert (answer.status, answer.json["code"]) == (422, "CORRUPT_IMAGE")
    assert rest.model.predictions == 1


async def test_lost_model_is_not_somebody_elses(tmp_path: Path, jpeg: bytes):
    """A stored score is given to who has the image, also while the model is lost."""
    async with world(tmp_path, token="secret") as rest:
        acme, other = rest.of("acme"), rest.of("other")
        path = f"/v1/images/{await acme.upload(jpeg)}/nsfw"
        assert (await acme.get(path)).status == 200
        rest.nsfw.error = errors.Unavailable("down")
        assert (await acme.get(path)).status == 200
        assert (await other.get(path)).json["code"] == "IMAGE_NOT_FOUND"


async def test_model_that_is_lost_when_the_mesh_starts_again(tmp_path: Path, jpeg: bytes):
    """Last known versions outlive every process: what is stored is answered after a restart."""
    async with world(tmp_path, versions_ttl_s=0.0) as rest:
        path = f"/v1/images/{await rest.upload(jpeg)}"
        answers = {what: await rest.get(f"{path}/{what}") for what in KINDS}
        kept = tmp_path / "objects" / "releases" / "last" / "models" / "nsfw.json"
        async with asyncio.timeout(WAIT_S):
            while not kept.exists():  # it is written down shortly after it was heard of
                await rest.get("/healthz")
    async with world(tmp_path, nsfw_error=errors.Unavailable("down")) as rest:
        for what, before in answers.items():
            for url in (f"{path}/{what}", before.headers["Content-Location"]):
                answer = await rest.get(url)
                assert (answer.status, answer.body) == (200, before.body)
            tag = before.headers["ETag"]
            assert (await rest.get(f"{path}/{what}", If_None_Match=tag)).status == 304
        assert rest.model.predictions == 0


async def test_policy_that_was_edited(tmp_path: Path, jpeg: bytes):
    """An edited policy is another release; under the old one its verdict is what it was."""
    async with world(tmp_path, versions_ttl_s=0.0) as rest:
        path = f"/v1/images/{await rest.upload(jpeg)}/moderation"
        before = await rest.get(path)
    async with world(tmp_path, versions_ttl_s=0.0, policy=DEFAULT.replace("0.8", "0.2")) as rest:
        after = await rest.get(path, If_None_Match=before.headers["ETag"])
        assert (after.status, after.json["decision"]) == (200, "REJECTED")
        assert after.json["release"] != before.json["release"]
        pinned = await rest.get(before.headers["Content-Location"])
        assert (pinned.status, pinned.body) == (200, before.body)
        assert rest.model.predictions == 0


async def test_verdict_of_another_release(rest: World, jpeg: bytes):
    """A verdict that was made by another release than the one asked for is not passed on."""
    path = f"/v1/images/{await rest.upload(jpeg)}/moderation"
    place = (await rest.get(path)).headers["Content-Location"]
    rest.moderation.release = MADE_UP
    answer = await rest.get(place)
    assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
