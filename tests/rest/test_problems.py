"""Every error has its HTTP status, and no internals reach a client."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services import errors
from services.errors import VisionmeshError
from services.rest import problems
from services.serving import tracing
from tests.rest.world import World, world

SECRET = "password is hunter2"

INTERNAL = {"INTERNAL", "INVALID_POLICY", "MODEL_FILE_ERROR"}
"""What no client can cause or mend."""


@pytest.mark.parametrize("kind", errors.BY_CODE.values(), ids=errors.BY_CODE)
def test_every_error_has_a_row(kind: type[VisionmeshError]):
    """Each domain error has a row of its own, and 500 only where it is a fault of ours."""
    assert kind in problems.KINDS
    status = problems.KINDS[kind].status
    assert (status is HTTPStatus.INTERNAL_SERVER_ERROR) == (kind.code in INTERNAL)


def test_unknown_kind_has_its_ancestors_row():
    """An error that has no row is what its nearest ancestor is."""

    class SomethingNew(errors.NotFound):
        code = "SOMETHING_NEW"

    assert problems.kind_of(SomethingNew("new")).status is HTTPStatus.NOT_FOUND
    assert problems.from_error(SomethingNew("new")).status == 404


def test_problem_is_rfc_9457():
    """A problem has the RFC's members and ours, and leaves out what there is none of."""
    tracing.adopt("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    response = problems.from_error(errors.TooManyPixels("too many", field="data", limit="50"))
    assert response.content_type == "application/problem+json"
    assert _json(response) == {
        "type": "urn:visionmesh:problem:too-many-pixels",
        "title": "Too many pixels",
        "status": 422,
        "detail": "too many",
        "code": "TOO_MANY_PIXELS",
        "field": "body",
        "limit": "50",
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    assert "field" not in _json(problems.from_error(errors.Unavailable("down")))


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.ModelUnavailable, errors.Overloaded])
def test_what_passes_says_when_to_try_again(kind: type[VisionmeshError]):
    """503 comes with Retry-After."""
    response = problems.from_error(kind("later"))
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"


def test_overload_is_tried_again_when_it_says():
    """Retry-After of an overload is its own hint, in whole seconds and never too early."""
    response = problems.from_error(errors.Overloaded("busy", retry_after_s=2.1))
    assert response.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (web.HTTPNotFound(), 404, "NOT_FOUND"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "IMAGE_TOO_LARGE"),
        (web.HTTPExpectationFailed(), 417, "EXPECTATION_FAILED"),
    ],
    ids=["404", "413", "417"],
)
def test_aiohttps_own_errors(raised: web.HTTPException, status: int, code: str):
    """What aiohttp refuses by itself is a problem like any other."""
    response = problems.from_aiohttp(raised, "/path")
    assert (response.status, _json(response)["code"]) == (status, code)


async def test_secret_of_a_service(rest: World, jpeg: bytes):
    """A bug in a service is a 500 without its words, and a verdict's error without them."""
    image_id = await rest.upload(jpeg)
    rest.nsfw.error = RuntimeError(SECRET)
    own = await rest.get(f"/v1/images/{image_id}/nsfw")
    assert (own.status, own.json["detail"]) == (500, "internal error")
    verdict = await rest.get(f"/v1/images/{image_id}/moderation")
    assert verdict.json["decision"] == "UNDETERMINED"
    assert b"hunter2" not in own.body + verdict.body


async def test_secret_of_the_facade(
    rest: World, jpeg: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A bug in the facade is a 500 without its words, which are in the log."""

    def broken(_image: object) -> object:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("services.rest.views.image", broken)
    answer = await rest.post("/v1/images", jpeg)
    assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
    assert b"hunter2" not in answer.body


async def test_unreachable_mesh(tmp_path: Path, jpeg: bytes):
    """Without a mesh the facade lives, is not ready, and says 503 without an address."""
    async with world(tmp_path) as rest:
        image_id = await rest.upload(jpeg)
        await rest.lose_mesh()
        assert (await rest.get("/healthz")).status == 200
        for path in ("/readyz", f"/v1/images/{image_id}", f"/v1/images/{image_id}/nsfw"):
            answer = await rest.get(path)
            assert answer.status == 503
            assert str(rest.mesh_port).encode() not in answer.body
            assert b"127.0.0.1" not in answer.body
        assert (await rest.post("/v1/images", jpeg)).status == 503


async def test_too_much_at_once(tmp_path: Path, jpeg: bytes):
    """Uploads beyond the memory set aside for them are refused early, and only those."""
    async with world(tmp_path, upload_budget_bytes=len(jpeg)) as rest:
        refused = await rest.post("/v1/images", jpeg + b"\0")
        assert (refused.status, refused.json["code"]) == (503, "OVERLOADED")
        assert refused.headers["Retry-After"] == "1"
        for _ in range(2):  # what was taken is given back, by the refused and by the stored
            assert (await rest.post("/v1/images", jpeg)).status in (200, 201)


def _json(response: web.Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)
