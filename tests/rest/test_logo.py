"""`/v1/images/{id}/logo` and `/v1/brands`: what is recognized, by which brands, how it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from services import errors
from tests.logo.drawings import BUILT_IN, encoded, logo, on_white, showing
from tests.rest.world import World, world

PHOTO = encoded(showing((logo(0, 190), 30, 60, 0), (logo(7, 180), 380, 200, 10)))
PICTURE = encoded(on_white(logo(7)), "PNG")


@pytest.fixture
async def path(rest: World) -> str:
    return f"/v1/images/{await rest.upload(PHOTO)}/logo"


async def register(rest: World, name: str = "mine", picture: bytes = PICTURE) -> int:
    headers = {"Content-Type": "image/png"}
    return (await rest.ask("PUT", f"/v1/brands/{name}", picture, headers=headers)).status


async def brands(rest: World, path: str, query: str = "") -> list[str]:
    answer = await rest.get(path + query)
    assert answer.status == 200, answer.body
    return [one["brand"] for one in answer.json["logo"]["logos"]]


async def test_logos_of_an_image(rest: World, path: str):
    """An image's logos come with image, release, a version of two parts, box and corners."""
    answer = await rest.get(path)
    assert answer.status == 200
    assert answer.json["model"]["version"] == rest.recognizing.recognition.version
    (found,) = answer.json["logo"]["logos"]
    assert found["brand"] == "alpha"
    assert len(found["corners"]) == 4
    assert found["box"]["x"] == pytest.approx(30, abs=6)
    assert found["corners"][2]["y"] == pytest.approx(250, abs=8)


async def test_registered_brand_is_in_the_next_answer(rest: World, path: str):
    """A client that has the old answer is not told that it is still right, and gets the new one,
    for which nothing is looked at again."""
    before = await rest.get(path)
    assert (await rest.get(path, If_None_Match=before.headers["ETag"])).status == 304
    assert await register(rest) == 201
    after = await rest.get(path, If_None_Match=before.headers["ETag"])
    assert after.status == 200
    assert sorted(one["brand"] for one in after.json["logo"]["logos"]) == ["alpha", "mine"]
    assert after.json["release"] != before.json["release"]
    assert (await rest.ask("DELETE", "/v1/brands/mine")).status == 204
    again = await rest.get(path, If_None_Match=before.headers["ETag"])
    assert (again.status, again.headers["ETag"]) == (304, before.headers["ETag"])


async def test_release_is_pinned_with_its_gallery(rest: World, path: str):
    """An answer's place gives the same again when its brands are gone; an image that they never
    were looked for in is not found there."""
    assert await register(rest) == 201
    answer = await rest.get(path)
    release = answer.json["release"]
    assert (await rest.ask("DELETE", "/v1/brands/mine")).status == 204
    assert (await rest.get(answer.headers["Content-Location"])).body == answer.body
    other = await rest.upload(encoded(showing((logo(7, 180), 80, 20, 10), seed=9)))
    lost = await rest.get(f"/v1/images/{other}/logo?release={release}")
    assert (lost.status, lost.json["code"]) == (404, "RESULT_NOT_FOUND")
    parts = (await rest.get(f"/v1/releases/{release}")).json
    assert parts["gallery"]["revision"] == answer.json["model"]["version"][16:]


async def test_lost_model_gives_what_is_stored(rest: World, path: str):
    """While the model is lost, what was answered by the brands of now is answered again, and not
    what was answered by others."""
    answer = await rest.get(path)
    await rest.settle()
    rest.logo.error = errors.Unavailable("down")
    assert (await rest.get(path)).json == answer.json
    rest.logo.error = None
    assert await register(rest) == 201
    rest.logo.error = errors.Unavailable("down")
    assert (await rest.get(path)).status == 503


async def test_parameters_leave_out_what_is_not_asked_for(rest: World, path: str):
    """Score, brands and number leave out of the stored answer, in one spelling."""
    await register(rest)
    assert sorted(await brands(rest, path)) == ["alpha", "mine"]
    assert await brands(rest, path, "?brands=mine") == ["mine"]
    assert await brands(rest, path, "?brands=beta") == []
    assert len(await brands(rest, path, "?maxResults=1")) == 1
    answer = await rest.get(f"{path}?minScore=0.750&brands=mine,alpha,mine")
    assert "?brands=alpha,mine&release=" in answer.headers["Content-Location"]
    refused = await rest.get(f"{path}?brands=nobody")
    assert (refused.status, refused.json["field"]) == (400, "brands")


async def test_pages_of_brands(rest: World):
    """Brands come by name, built-in and own, in pages; `own` leaves the others out."""
    await register(rest)
    await register(rest, "beta", encoded(on_white(logo(8)), "PNG"))
    found, cursor = [], ""
    while True:
        page = (await rest.get(f"/v1/brands?limit=2{cursor}")).json
        found += page["brands"]
        if not page["nextCursor"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert [one["name"] for one in found] == sorted([*BUILT_IN, "mine"])
    assert [one["name"] for one in found if one["builtIn"]] == [*BUILT_IN]
    own = (await rest.get("/v1/brands?own=true&fields=brands/name")).json["brands"]
    assert own == [{"name": "beta"}, {"name": "mine"}]
    for wrong in ("own=yes", "limit=0", "cursor=?"):
        assert (await rest.get(f"/v1/brands?{wrong}")).status == 400


@pytest.mark.parametrize(
    ("name", "picture", "status", "code"),
    [
        ("mine", encoded(on_white(logo(8)), "PNG"), 409, "BRAND_EXISTS"),
        ("other", PICTURE, 409, "BRAND_EXISTS"),
        ("other", b"text", 415, "UNSUPPORTED_FORMAT"),
        ("other", PICTURE[:300], 422, "CORRUPT_IMAGE"),
        ("other", encoded(on_white(logo(8, 8), 2), "PNG"), 422, "UNUSABLE_PICTURE"),
        ("Other", PICTURE, 400, "INVALID_ARGUMENT"),
        ("other", b"", 400, "EMPTY_IMAGE"),
    ],
)
async def test_what_cannot_be_registered(
    rest: World, name: str, picture: bytes, status: int, code: str
):
    """A registration that is refused says by code and field why."""
    assert await register(rest) == 201
    answer = await rest.ask(
        "PUT",
        f"/v1/brands/{name}",
        picture,
        headers={"Content-Type": "image/png"},
        check=name != "Other",
    )
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["field"] in ("name", "body")


async def test_brand_that_is_not_ones_own_is_not_deleted(rest: World):
    """A built-in brand, and one that is not there, are not found among one's own."""
    for name in ("alpha", "nobody"):
        answer = await rest.ask("DELETE", f"/v1/brands/{name}")
        assert (answer.status, answer.json["code"]) == (404, "BRAND_NOT_FOUND")


async def test_tenants_brands_are_their_own(tmp_path: Path):
    """A tenant neither lists nor deletes another's brands, nor is answered by them."""
    async with world(tmp_path, token="secret") as rest:
        acme, globex = rest.of("acme"), rest.of("globex")
        assert await register(acme) == 201
        place = f"/v1/images/{await acme.upload(PHOTO)}/logo"
        await globex.upload(PHOTO)
        assert sorted(await brands(acme, place)) == ["alpha", "mine"]
        assert await brands(globex, place) == ["alpha"]
        assert (await globex.get("/v1/brands?own=true")).json["brands"] == []
        assert (await globex.ask("DELETE", "/v1/brands/mine")).status == 404
        releases = [
            (await one.get("/v1/releases/current")).json["release"] for one in (acme, globex)
        ]
        assert len(set(releases)) == 2
