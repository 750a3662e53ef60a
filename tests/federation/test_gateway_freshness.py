"""Who may keep an answer of the gateway, and when it is asked for again."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from tests.federation.gateway import (
    SCORES,
    UNKNOWN,
    Answer,
    Gateway,
    gateway,
)
from tests.federation.world import World


async def test_an_answer_is_kept_and_asked_for_again(graph: World, front: Gateway):
    """Without a release an answer has a tag known before any model runs: 304 without a call."""
    (image,) = await graph.stored(1)
    first = await front.get(query=SCORES, variables={"id": image})
    assert first.headers["Cache-Control"] == "no-cache"
    calls = len(graph.nsfw.calls)
    known = {"If-None-Match": f"W/{first.headers['ETag']}"}
    again = await front.get(known, query=SCORES, variables={"id": image})
    assert again.status == 304
    assert again.headers["ETag"] == first.headers["ETag"]
    assert len(graph.nsfw.calls) == calls
    other = await front.get(known, query=SCORES + " ", variables={"id": image})
    assert other.status == 200


async def test_a_pinned_answer_is_immutable(graph: World, front: Gateway):
    """Content-Location names the release; there the answer is the same and good for a year."""
    (image,) = await graph.stored(1)
    first = await front.get(query=SCORES, variables={"id": image})
    place = first.headers["Content-Location"]
    pinned = await front.send("GET", place)
    assert pinned.text == first.text
    assert pinned.headers["Cache-Control"] == "max-age=31536000, s-maxage=60, immutable"
    assert pinned.headers["ETag"] == first.headers["ETag"]
    assert pinned.headers["Content-Location"] == place
    assert "release=" in place


async def test_any_tag_is_a_304_when_there_is_an_answer(graph: World, front: Gateway):
    """`*` names no answer: it is made, and not sent again when it could be kept."""
    (image,) = await graph.stored(1)
    anything = {"If-None-Match": "*"}
    known = await front.get(anything, query=SCORES, variables={"id": image})
    assert (known.status, len(graph.nsfw.calls)) == (304, 1)
    assert "ETag" in known.headers
    missing = await front.get(anything, query=SCORES, variables={"id": UNKNOWN})
    assert (missing.status, missing.codes) == (200, ["IMAGE_NOT_FOUND"])


async def test_what_was_deleted_is_no_304(graph: World, front: Gateway):
    """Whose images are there is looked at before a tag is believed."""
    (image,) = await graph.stored(1)
    first = await front.get(query=SCORES, variables={"id": image})
    await front.ask("mutation ($id: ID!) { deleteImage(id: $id) }", id=image)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await front.get(known, query=SCORES, variables={"id": image})
    assert again.places == {("image",): "IMAGE_NOT_FOUND"}
    assert again.headers["Cache-Control"] == "no-store"


async def test_a_tag_is_of_the_code_that_wrote_the_answer():
    """Code that writes the same facts otherwise has other tags, and parts of two are not kept."""
    written_by = {"images": "a" * 16, "nsfw": "a" * 16}

    def made(subgraph: str, content: Any) -> web.Response:
        headers = {
            "x-visionmesh-release": "1" * 16,
            "x-visionmesh-representation": written_by[subgraph],
        }
        return web.json_response(content, headers=headers)

    async def images(request: web.Request) -> web.Response:
        return made("images", {"data": {"image": {"__typename": "Image", "id": UNKNOWN}}})

    async def standing(request: web.Request) -> web.Response:
        return made("images", {})

    async def nsfw(request: web.Request) -> web.Response:
        return made("nsfw", {"data": {"_entities": [{"nsfw": {"score": 0.5}}]}})

    app = web.Application()
    app.router.add_post("/images", images)
    app.router.add_post("/images/standing", standing)
    app.router.add_post("/nsfw", nsfw)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    query = "query ($id: ID!) { image(id: $id) { id nsfw { score } } }"
    try:
        async with gateway(f"http://127.0.0.1:{runner.addresses[0][1]}") as front:

            async def asked(tag: str = "") -> Answer:
                known = {"If-None-Match": tag} if tag else {}
                return await front.get(known, query=query, variables={"id": UNKNOWN})

            first = await asked()
            same = await asked(first.headers["ETag"])
            written_by["nsfw"] = "b" * 16
            mixed = await asked()
            written_by["images"] = "b" * 16
            changed = await asked(first.headers["ETag"])
    finally:
        await runner.cleanup()
    assert [same.status, mixed.status, changed.status] == [304, 200, 200]
    assert mixed.headers["Cache-Control"] == "no-store"
    assert changed.text == first.text == mixed.text
    assert changed.headers["ETag"] != first.headers["ETag"]


async def test_parts_of_two_releases_are_not_kept(graph: World, front: Gateway):
    """A verdict of another release than the scores beside it makes an answer nobody may keep."""
    (image,) = await graph.stored(1)
    query = "query ($id: ID!) { image(id: $id) { nsfw { score } moderation { isCompliant } } }"
    answer = await front.get(query=query, variables={"id": image})
    assert answer.codes == []
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    "selection", ["image(id: $id) { createdAt }", "image(id: $id) { id } models { name }"]
)
async def test_what_no_release_names_is_not_kept(graph: World, front: Gateway, selection: str):
    """When an image was stored, and what is no image's, follows from no release."""
    (image,) = await graph.stored(1)
    answer = await front.get(query=f"query ($id: ID!) {{ {selection} }}", variables={"id": image})
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_unknown_release_is_an_error_at_each_place(graph: World, front: Gateway):
    """A release that never was answers nothing, and never with another one's results."""
    (image,) = await graph.stored(1)
    answer = await front.get(query=SCORES, variables={"id": image}, release="0" * 16)
    assert answer.places == {("image",): "RELEASE_NOT_FOUND"}
    malformed = await front.get(query=SCORES, variables={"id": image}, release="latest")
    assert (malformed.status, malformed.codes) == (400, ["INVALID_ARGUMENT"])
