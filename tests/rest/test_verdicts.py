"""Scores and verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from services import errors
from tests.rest.world import World, digest_of, world


async def test_score(rest: World, jpeg: bytes):
    """A stored image has a score, of a named model, beside the image's size."""
    image_id = await rest.upload(jpeg)
    answer = await rest.get(f"/v1/images/{image_id}/nsfw")
    assert answer.json == {
        "imageId": image_id,
        "release": answer.json["release"],
        "image": {"width": 64, "height": 48},
        "model": {"name": "nsfw", "version": rest.model.version},
        "nsfw": {"score": 0.25},
    }


async def test_selected_fields(rest: World, jpeg: bytes):
    """`fields` selects, in either spelling, and in the answer's own order."""
    image_id = await rest.upload(jpeg)
    path = f"/v1/images/{image_id}/nsfw"
    expected = b'{"image":{"width":64},"nsfw":{"score":0.25}}'
    for fields in ("nsfw(score),image(width)", "image/width,nsfw/score"):
        assert (await rest.get(f"{path}?fields={fields}")).body == expected


async def test_fields_of_lists(rest: World, jpeg: bytes):
    """`fields` reaches into every item of a list."""
    image_id = await rest.upload(jpeg)
    fields = "rejectionReasons(code,evidence/score)"
    path = f"/v1/images/{image_id}/moderation?policy=strict&fields={fields}"
    reasons = (await rest.get(path)).json["rejectionReasons"]
    assert reasons == [{"code": "DOUBT", "evidence": [{"score": 0.25}]}]


@pytest.mark.parametrize(
    ("score", "decision", "is_compliant", "codes"),
    [(0.25, "APPROVED", True, []), (0.9, "REJECTED", False, ["NUDITY"])],
)
async def test_verdict(
    rest: World, jpeg: bytes, score: float, decision: str, is_compliant: bool, codes: list[str]
):
    """The default policy approves or rejects, and says why."""
    rest.model.score = score
    image_id = await rest.upload(jpeg)
    verdict = (await rest.get(f"/v1/images/{image_id}/moderation")).json
    assert (verdict["decision"], verdict["isCompliant"]) == (decision, is_compliant)
    assert [reason["code"] for reason in verdict["rejectionReasons"]] == codes
    assert verdict["models"] == [{"name": "nsfw", "version": rest.model.version}]
    assert verdict["policy"]["name"] == "default"


async def test_named_policy(rest: World, jpeg: bytes):
    """Another policy judges the same score differently, and costs no second inference."""
    image_id = await rest.upload(jpeg)
    for policy, decision in (("default", "APPROVED"), ("strict", "REJECTED")):
        answer = await rest.get(f"/v1/images/{image_id}/moderation?policy={policy}")
        assert answer.json["decision"] == decision
        assert answer.json["policy"]["name"] == policy
    assert rest.model.predictions == 1


@pytest.mark.parametrize("query", ["", "?policy=strict"])
async def test_bytes_in_verdict_out(rest: World, jpeg: bytes, query: str):
    """One call stores the image and answers the verdict, which can be had again by its place."""
    answer = await rest.post(f"/v1/moderations{query}", jpeg)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"/v1/images/{digest_of(jpeg)}"
    again = await rest.get(answer.headers["Content-Location"])
    assert again.json == answer.json
    assert rest.model.predictions == 1


@pytest.mark.parametrize("query", ["", "?policy=default", "?policy=strict", "?policy=unknown"])
async def test_moderation_that_is_down_leaves_nothing_behind(
    tmp_path: Path, jpeg: bytes, query: str
):
    """Where nobody can say what a policy is, no image is stored, whichever policy it is."""
    async with world(tmp_path, policies_error=errors.Unavailable("down")) as rest:
        answer = await rest.post(f"/v1/moderations{query}", jpeg)
        assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
        assert (rest.images.uploads, rest.stored_files()) == (0, [])


@pytest.mark.parametrize(
    "error",
    [errors.Unavailable("down"), errors.ModelUnavailable("model 'nsfw' is not available")],
    ids=["unavailable", "model unavailable"],
)
async def test_model_down(rest: World, jpeg: bytes, error: Exception):
    """A model that is down is a 503 of its own, and a verdict that is undetermined and not kept."""
    image_id = await rest.upload(jpeg)
    rest.nsfw.error = error
    own = await rest.get(f"/v1/images/{image_id}/nsfw")
    assert (own.status, own.json["code"]) == (503, "MODEL_UNAVAILABLE")
    assert own.headers["Retry-After"] == "1"
    verdict = await rest.get(f"/v1/images/{image_id}/moderation")
    assert verdict.status == 200
    assert verdict.headers["Cache-Control"] == "no-store"
    assert "ETag" not in verdict.headers
    body = verdict.json
    assert (body["isCompliant"], body["decision"]) == (None, "UNDETERMINED")
    assert (body["missing"], body["unknownCodes"]) == (["nsfw"], ["NUDITY"])
    assert [failure["model"] for failure in body["errors"]] == ["nsfw"]
    assert body["image"] == {"width": 64, "height": 48}

    rest.nsfw.error = None
    assert (await rest.get(f"/v1/images/{image_id}/moderation")).json["decision"] == "APPROVED"


async def test_nothing_is_undetermined_about_no_image(rest: World):
    """An image that is not there is 404 also while the model is down."""
    rest.nsfw.error = errors.Unavailable("down")
    answer = await rest.get(f"/v1/images/{'0' * 64}/moderation")
    assert (answer.status, answer.json["code"]) == (404, "IMAGE_NOT_FOUND")


async def test_models_and_policies(rest: World):
    """Models and policies are listed with their versions."""
    listed = (await rest.get("/v1/models")).json
    names = [model["name"] for model in listed["models"]]
    assert names == ["nsfw", "detection", "ocr", "logo"]
    assert listed["errors"] == []
    assert (await rest.get("/v1/models/nsfw")).json == listed["models"][0]
    policies = (await rest.get("/v1/policies?fields=policies(name,models)")).json["policies"]
    assert policies == [
        {"name": "default", "models": ["nsfw"]},
        {"name": "strict", "models": ["nsfw"]},
    ]


async def test_models_that_nobody_knows(tmp_path: Path):
    """A model that never said what it is is named with its error, and the list is not kept."""
    async with world(tmp_path, nsfw_error=errors.Unavailable("down")) as rest:
        answer = await rest.get("/v1/models")
        names = [model["name"] for model in answer.json["models"]]
        assert names == ["detection", "ocr", "logo"]
        assert [failure["code"] for failure in answer.json["errors"]] == ["MODEL_UNAVAILABLE"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert (await rest.get("/v1/models/nsfw")).status == 503


async def test_ready_when_everybody_has_been_heard_of(tmp_path: Path):
    """A facade that has just started is not ready before it knows which policies there are."""
    async with world(tmp_path, policies_hang=True) as rest:
        answer = await rest.get("/readyz")
        assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
        rest.moderation.gate.set()
        assert (await rest.ready()).json == {"status": "ready"}


async def test_ready_while_a_model_is_down(rest: World):
    """Readiness asks for the mesh and not for each model."""
    await rest.ready()
    rest.nsfw.error = errors.Unavailable("down")
    assert (await rest.get("/readyz")).json == {"status": "ready"}
    assert (await rest.get("/healthz")).json == {"status": "ok"}
