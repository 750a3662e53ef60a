"""Storing, describing and deleting images."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.limits import MAX_IMAGE_BYTES
from tests.rest.world import World, digest_of
from tests.support import photos


async def test_upload_is_created_once(rest: World, jpeg: bytes):
    """The first upload is 201, the same bytes again are 200, both with the id and its place."""
    first, second = [await rest.post("/v1/images", jpeg) for _ in range(2)]
    assert (first.status, second.status) == (201, 200)
    for answer in (first, second):
        assert answer.json["id"] == digest_of(jpeg)
        assert answer.headers["Location"] == f"/v1/images/{digest_of(jpeg)}"
        assert answer.headers["Cache-Control"] == "no-store"
    assert (first.json["width"], first.json["height"]) == (64, 48)


async def test_form_upload(rest: World, jpeg: bytes):
    """A form with one file stores the file, not the form."""
    form = aiohttp.FormData()
    form.add_field("file", jpeg, filename="photo.jpg", content_type="image/jpeg")
    answer = await rest.ask("POST", "/v1/images", form, check=False)
    assert answer.status == 201
    assert answer.json["id"] == digest_of(jpeg)


async def test_chunked_upload(rest: World, jpeg: bytes):
    """A body that does not say its length is taken like any other."""

    async def chunks() -> AsyncIterator[bytes]:
        yield jpeg[:100]
        yield jpeg[100:]

    answer = await rest.ask(
        "POST", "/v1/images", chunks(), headers={"Content-Type": "image/jpeg"}, check=False
    )
    assert answer.json["id"] == digest_of(jpeg)


async def test_lying_content_type(rest: World, jpeg: bytes):
    """The format is found in the bytes: a JPEG that is called a PNG is a JPEG."""
    answer = await rest.post("/v1/images", jpeg, "image/png")
    assert answer.status == 201
    assert answer.json["mediaType"] == "image/jpeg"


async def test_put_by_id(rest: World, jpeg: bytes):
    """A client that knows the id stores under it: 201, and 200 when it was there."""
    path = f"/v1/images/{digest_of(jpeg)}"
    headers = {"Content-Type": "application/octet-stream"}
    statuses = [(await rest.ask("PUT", path, jpeg, headers=headers)).status for _ in range(2)]
    assert statuses == [201, 200]


async def test_head_says_whether_it_is_there(rest: World, jpeg: bytes):
    """HEAD is 404 before the upload and 200 after it, without a body either time."""
    path = f"/v1/images/{digest_of(jpeg)}"
    before = await rest.ask("HEAD", path)
    await rest.upload(jpeg)
    after = await rest.ask("HEAD", path)
    assert (before.status, before.body) == (404, b"")
    assert (after.status, after.body) == (200, b"")
    assert after.headers["ETag"] == (await rest.get(path)).headers["ETag"]


async def test_metadata(rest: World):
    """An image is described upright, with its format, size and date."""
    rotated = photos.jpeg(64, 48, exif=photos.exif(6))
    image_id = await rest.upload(rotated)
    image = (await rest.get(f"/v1/images/{image_id}")).json
    assert (image["width"], image["height"], image["orientation"]) == (48, 64, 6)
    assert image["mediaType"] == "image/jpeg"
    assert image["byteSize"] == len(rotated)
    assert image["createdAt"].endswith("Z")


async def test_delete(rest: World, jpeg: bytes):
    """A deleted image is gone from every path, with everything that was stored of it."""
    image_id = await rest.upload(jpeg)
    await rest.get(f"/v1/images/{image_id}/nsfw")
    answer = await rest.ask("DELETE", f"/v1/images/{image_id}")
    assert (answer.status, answer.body) == (204, b"")
    for below in ("", "/nsfw", "/moderation"):
        gone = await rest.get(f"/v1/images/{image_id}{below}")
        assert (gone.status, gone.json["code"]) == (404, "IMAGE_NOT_FOUND")
    assert (await rest.ask("DELETE", f"/v1/images/{image_id}")).status == 404
    assert rest.stored_files() == []


@pytest.mark.parametrize("size", [MAX_IMAGE_BYTES - 1, MAX_IMAGE_BYTES])
async def test_largest_image(rest: World, jpeg: bytes, size: int):
    """A body of exactly the limit is read: what follows the picture in it is no matter."""
    answer = await rest.post("/v1/images", jpeg + bytes(size - len(jpeg)))
    assert answer.status == 201
    assert answer.json["byteSize"] == size


async def test_expectation_is_met_only_when_the_body_is_wanted(rest: World, jpeg: bytes):
    """A client that asks before it sends is told to go on, and then answered."""
    answer = await rest.ask(
        "POST",
        "/v1/images",
        jpeg,
        headers={"Content-Type": "image/jpeg", "Expect": "100-continue"},
    )
    assert answer.status == 201
