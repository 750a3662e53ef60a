"""Whose a request is, and that nobody learns what others have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.media.objects import Objects
from services.serving import tenancy
from tests.rest import wire
from tests.rest.world import Answer, World, digest_of, world
from tests.support import photos

TOKEN = "the token of this mesh"
JPEG = {"Content-Type": "image/jpeg"}

STRANGERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "no tenant": {tenancy.TOKEN_HEADER: TOKEN},
    "no token": {tenancy.TENANT_HEADER: "acme"},
    "wrong token": {tenancy.TOKEN_HEADER: TOKEN + "!", tenancy.TENANT_HEADER: "acme"},
    "no tenant's name": {tenancy.TOKEN_HEADER: TOKEN, tenancy.TENANT_HEADER: "../acme"},
}
"""What does not come through Envoy, or comes for nobody."""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[World]:
    """A facade that believes only who shows the token."""
    async with world(tmp_path, token=TOKEN) as started:
        yield started


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
async def test_strangers_are_refused(mesh: World, jpeg: bytes, headers: dict[str, str]):
    """Below /v1 everything is somebody's: without a tenant, and the token for it, it is 401."""
    image = f"/v1/images/{digest_of(jpeg)}"
    typed = {**headers, **JPEG}
    answers = [
        await mesh.ask("POST", "/v1/images", jpeg, headers=typed),
        await mesh.ask("POST", "/v1/moderations", jpeg, headers=typed),
        await mesh.ask("DELETE", image, headers=headers),
        *[
            await mesh.ask("GET", path, headers=headers)
            for path in (image, f"{image}/nsfw", "/v1/models", "/v1/audit", "/v1/releases/current")
        ],
    ]
    for answer in answers:
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHENTICATED")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["Cache-Control"] == "no-store"
    assert (await mesh.ask("GET", "/v1/nothing", headers=headers, check=False)).status == 401
    assert mesh.stored_files() == []


async def test_a_token_that_is_no_text(mesh: World):
    """A stranger who sends bytes that are no text is refused like any other."""
    shown = {"x_visionmesh_token": "\udcff", "x_visionmesh_tenant": "acme"}
    async with wire.request(mesh.port, "GET", "/v1/models", **shown) as connection:
        answer = await connection.answer()
    assert (answer.status, answer.json["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
async def test_the_facade_itself_is_nobodys(mesh: World, path: str):
    """Whether it lives, and its contract, it tells everybody."""
    await mesh.ready()
    assert (await mesh.get(path)).status == 200


async def test_a_connection_is_nobodys(mesh: World, jpeg: bytes):
    """What the last request of a connection was for says nothing about the next one."""
    await mesh.ready()
    path = f"/v1/images/{await mesh.of('acme').upload(jpeg)}"
    for _ in range(3):
        assert (await mesh.of("acme").get(path)).status == 200
        assert (await mesh.get(path)).status == 401
        assert (await mesh.get("/readyz")).status == 200
        assert (await mesh.get(path)).status == 401
        assert (await mesh.of("other").get(path)).status == 404


async def test_without_a_token_all_is_local(rest: World, jpeg: bytes):
    """Where there is no token, a tenant that a request names means nothing."""
    image_id = await rest.upload(jpeg)
    answer = await rest.get(f"/v1/images/{image_id}", x_visionmesh_tenant="acme")
    assert answer.status == 200


async def test_each_has_its_own(mesh: World, jpeg: bytes):
    """Two tenants have one image; what one deletes, the other one still has."""
    acme, other = mesh.of("acme"), mesh.of("other")
    image = f"/v1/images/{digest_of(jpeg)}"
    assert (await acme.post("/v1/images", jpeg)).status == 201
    for path in (image, f"{image}/nsfw", f"{image}/moderation"):
        assert (await acme.get(path)).status == 200
        tag = (await acme.get(path)).headers["ETag"]
        for header in (tag, "*", '"other"'):
            hidden = await other.get(path, If_None_Match=header)
            assert (hidden.status, hidden.json["code"]) == (404, "IMAGE_NOT_FOUND")
    assert (await other.ask("DELETE", image)).status == 404
    assert (await other.post("/v1/images", jpeg)).status == 201
    score = await other.get(f"{image}/nsfw")
    assert (score.status, mesh.model.predictions) == (200, 1)
    assert (await acme.ask("DELETE", image)).status == 204
    for below in ("", "/nsfw", "/moderation"):
        assert (await acme.get(image + below)).status == 404
        assert (await other.get(image + below)).status == 200
    assert (await other.ask("DELETE", image)).status == 204
    assert (await other.get(image)).status == 404
    assert mesh.stored_files() == []


class Accesses:
    """Counts what is done to the store for images, whichever image it is done for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        for name, method in list(vars(Objects).items()):
            if callable(method) and not name.startswith("_") and name != "open":
                monkeypatch.setattr(Objects, name, self._counting(name, method))

    def _counting(self, name: str, method: Any) -> Any:
        def counted(objects: Objects, *args: Any, **kwargs: Any) -> Any:
            paths = (
                [args[0]] if args and isinstance(args[0], str) else list(args[0] if args else ())
            )
            # What is written down of releases is, by whichever request comes at the time.
            for path in filter(re.compile("images/|owners/|tombstones/").match, paths):
                self.seen[name, re.sub("[0-9a-f]{2}/[0-9a-f]{64}", "*", path)] += 1
            return method(objects, *args, **kwargs)

        return counted

    def taken(self) -> Counter[tuple[str, str]]:
        """What was done since the last time."""
        seen, self.seen = self.seen, Counter()
        return seen


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "DELETE", "nsfw", "moderation"])
async def test_what_others_have_is_like_what_nobody_has(
    mesh: World, method: str, monkeypatch: pytest.MonkeyPatch
):
    """Another tenant's image is answered like an unknown one, and by the same accesses."""
    theirs, nobodys = photos.jpeg(64, 48), photos.jpeg(64, 49)
    await mesh.of("acme").upload(theirs)
    await mesh.of("acme").get(f"/v1/images/{digest_of(theirs)}/nsfw")
    other = mesh.of("other")
    # What is read once by every process has been read.
    await other.get(f"/v1/images/{'0' * 64}/{'moderation' if method == 'moderation' else 'nsfw'}")
    accesses = Accesses(monkeypatch)
    predictions = mesh.model.predictions

    async def asked(data: bytes) -> tuple[Answer, Counter[tuple[str, str]]]:
        accesses.taken()
        path = f"/v1/images/{digest_of(data)}"
        if method == "PUT":
            answer = await other.ask("PUT", path, data, headers=JPEG)
        elif method.isupper():
            answer = await other.ask(method, path)
        else:
            answer = await other.get(f"{path}/{method}")
        return answer, accesses.taken()

    of_theirs, of_nobodys = await asked(theirs), await asked(nobodys)
    assert of_theirs[0].status == of_nobodys[0].status == (201 if method == "PUT" else 404)
    assert _names(of_theirs[0]) == _names(of_nobodys[0])
    assert of_theirs[1] == of_nobodys[1] != Counter()
    assert mesh.model.predictions == predictions


def _names(answer: Answer) -> list[str]:
    return sorted(answer.headers)
