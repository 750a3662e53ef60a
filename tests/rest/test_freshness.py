"""What may be kept, and what asking again costs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services import errors
from tests.rest.world import World, digest_of, world

PATHS = (
    "/v1/images/{id}",
    "/v1/images/{id}/nsfw",
    "/v1/images/{id}/moderation",
    "/v1/models",
    "/v1/models/nsfw",
    "/v1/policies",
    "/v1/releases/current",
    "/openapi.json",
    "/docs",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', 'W/"other",W/{}', "*"])
async def test_not_modified(rest: World, jpeg: bytes, path: str, form: str):
    """Every answer with an entity tag is a 304 to whoever has it, strong, weak or in a list."""
    image_id = await rest.upload(jpeg)
    path = path.format(id=image_id)
    answer = await rest.get(path)
    assert answer.headers["Cache-Control"] == "no-cache"
    tag = answer.headers["ETag"]
    again = await rest.get(path, If_None_Match=form.format(tag))
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    other = await rest.get(path, If_None_Match='"other"')
    assert other.status == 200


@pytest.mark.parametrize("what", ["nsfw", "moderation"])
async def test_not_modified_without_inference(rest: World, jpeg: bytes, what: str):
    """A 304 asks no model: it is answered while the model refuses every call."""
    path = f"/v1/images/{await rest.upload(jpeg)}/{what}"
    tag = (await rest.get(path)).headers["ETag"]
    assert (await rest.get(path, If_None_Match=tag)).status == 304
    predictions = rest.model.predictions
    rest.nsfw.error = errors.Unavailable("down")
    assert (await rest.get(path, If_None_Match=tag)).status == 304
    assert rest.model.predictions == predictions


@pytest.mark.parametrize("what", ["nsfw", "moderation"])
async def test_tag_of_an_answer_that_was_never_made(tmp_path: Path, jpeg: bytes, what: str):
    """A tag follows from versions alone: another facade knows it without any inference."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with world(tmp_path / "one") as first:
        path = f"/v1/images/{await first.upload(jpeg)}/{what}"
        tag = (await first.get(path)).headers["ETag"]
    async with world(tmp_path / "two") as second:
        await second.upload(jpeg)
        assert (await second.get(path, If_None_Match=tag)).status == 304
        assert second.model.predictions == 0


async def test_tag_is_known_before_anybody_asks(tmp_path: Path, jpeg: bytes):
    """A facade learns versions when it starts: a model that is lost then costs no 304."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with world(tmp_path / "one") as first:
        path = f"/v1/images/{await first.upload(jpeg)}/nsfw"
        tag = (await first.get(path)).headers["ETag"]
    async with world(tmp_path / "two") as second:
        await second.upload(jpeg)
        await asyncio.wait_for(second.nsfw.described.wait(), 10)
        second.nsfw.error = errors.Unavailable("down")
        assert (await second.get(path, If_None_Match=tag)).status == 304


@pytest.mark.parametrize("what", ["", "/nsfw", "/moderation"])
async def test_deleted_is_not_unmodified(rest: World, jpeg: bytes, what: str):
    """Existence comes before any 304: a deleted image is 404 to whoever has its answer."""
    path = f"/v1/images/{await rest.upload(jpeg)}{what}"
    tag = (await rest.get(path)).headers["ETag"]
    await rest.ask("DELETE", f"/v1/images/{digest_of(jpeg)}")
    for header in (tag, "*"):
        assert (await rest.get(path, If_None_Match=header)).status == 404


@pytest.mark.parametrize("what", ["nsfw", "moderation"])
async def test_new_model_version_is_modified(tmp_path: Path, jpeg: bytes, what: str):
    """Another model version is another answer under another tag."""
    async with world(tmp_path, versions_ttl_s=0.0) as rest:
        path = f"/v1/images/{await rest.upload(jpeg)}/{what}"
        tag = (await rest.get(path)).headers["ETag"]
        rest.new_version("fedcba9876543210")
        answer = await rest.get(path, If_None_Match=tag)
        assert answer.status == 200
        assert answer.headers["ETag"] != tag
        assert rest.model.predictions == 2


async def test_tags_differ_where_answers_do(rest: World, jpeg: bytes):
    """Fields, policies and kinds of answer have tags of their own; the order of fields has not."""
    image_id = await rest.upload(jpeg)
    path = f"/v1/images/{image_id}"
    paths = [
        path,
        f"{path}/nsfw",
        f"{path}/nsfw?fields=nsfw",
        f"{path}/moderation",
        f"{path}/moderation?policy=strict",
        f"{path}/moderation?fields=decision,isCompliant",
    ]
    tags = [(await rest.get(each)).headers["ETag"] for each in paths]
    assert len(set(tags)) == len(tags)
    same = await rest.get(f"{path}/moderation?fields=isCompliant,decision")
    assert same.headers["ETag"] == tags[-1]
    named = await rest.get(f"{path}/moderation?policy=default")
    assert named.headers["ETag"] == tags[3]


@pytest.mark.parametrize("path", PATHS)
async def test_keeps_envoys_cache_working(rest: World, jpeg: bytes, path: str):
    """No answer varies, is private or compressed, whatever the client accepts."""
    path = path.format(id=await rest.upload(jpeg))
    answer = await rest.get(path, Accept_Encoding="gzip, br")
    assert "Vary" not in answer.headers
    assert "Content-Encoding" not in answer.headers
    assert "private" not in answer.headers["Cache-Control"]


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_a_body(rest: World, jpeg: bytes, path: str):
    """HEAD answers wherever GET does, with the same headers."""
    path = path.format(id=await rest.upload(jpeg))
    get = await rest.get(path)
    head = await rest.ask("HEAD", path, check=False)
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Cache-Control", "Content-Type", "Content-Length"):
        assert head.headers[name] == get.headers[name]
