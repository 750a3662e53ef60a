"""`/v1/images/{id}/analysis`: everybody at once, each failing alone, no two releases mixed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from services import errors
from services.media.store import ImageStore
from services.nsfw.servicer import NsfwServicer
from services.rest.answers import PINNED
from services.rest.model_views import MODEL_VIEWS
from services.results.results import Results
from services.serving.dataplane import DataPlane
from services.serving.model_process import describe
from tests.rest.behind import FakeModel
from tests.rest.test_releases import MADE_UP, NEW
from tests.rest.world import WAIT_S, World, world

MODELS = tuple(view.name for view in MODEL_VIEWS)
ALL = ",".join(sorted([*MODELS, "moderation"]))

every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture
async def image(rest: World, jpeg: bytes) -> str:
    return f"/v1/images/{await rest.upload(jpeg)}"


def fail(rest: World, model: str, error: Exception | None) -> None:
    """Have a model's service fail from now on; without an error, work again."""
    getattr(rest, model).error = error


async def test_has_what_everybody_says_alone(rest: World, image: str):
    """Each part is what its own path answers, the release and the size are those of all."""
    answer = (await rest.get(f"{image}/analysis")).json
    assert list(answer) == ["imageId", "release", "image", *MODELS, "moderation"]
    for model in MODELS:
        alone = (await rest.get(f"{image}/{model}")).json
        part = answer[model]
        assert part == {"model": alone["model"], "result": alone[model], "error": None}
        for name in ("imageId", "release", "image"):
            assert answer[name] == alone[name]
    verdict = (await rest.get(f"{image}/moderation")).json
    frame = {name: verdict.pop(name) for name in ("imageId", "release", "image")}
    assert answer["moderation"] == {"result": verdict, "error": None}
    assert frame.items() <= answer.items()
    assert rest.model.predictions == 1
    assert rest.detector.predictions == 1


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("", ALL),
        (f"?include={ALL}", ALL),
        ("?include=nsfw", "nsfw"),
        ("?include=nsfw,detection", "detection,nsfw"),
        ("?include=nsfw,detection,nsfw", "detection,nsfw"),
        ("?include=moderation", "moderation"),
    ],
)
async def test_includes_what_is_asked_for(rest: World, image: str, query: str, parts: str):
    """Only what is included is asked and answered; the place names it, sorted and once."""
    answer = await rest.get(f"{image}/analysis{query}")
    assert set(answer.json) == {"imageId", "release", "image", *parts.split(",")}
    release = answer.json["release"]
    assert (
        answer.headers["Content-Location"] == f"{image}/analysis?include={parts}&release={release}"
    )
    assert rest.detector.predictions == ("detection" in parts)


async def test_one_question_has_one_tag(rest: World, image: str):
    """However a question is written its tag is one; another question has another tag."""
    path = f"{image}/analysis"
    same = ("", f"?include={ALL}", "?policy=default", "?detection.minScore=0.40")
    tags = {(await rest.get(path + query)).headers["ETag"] for query in same}
    assert len(tags) == 1
    others = (
        "?include=nsfw",
        "?include=detection,nsfw",
        "?policy=strict",
        "?detection.minScore=0.6",
        "?fields=nsfw",
    )
    tags |= {(await rest.get(path + query)).headers["ETag"] for query in others}
    assert len(tags) == 1 + len(others)


async def test_parameters_of_models(rest: World, image: str):
    """A model's own parameters are good here under its name, and are in the canonical place."""
    query = "?detection.minScore=0.10&include=nsfw,detection&detection.labels=dog,cat,dog"
    answer = await rest.get(f"{image}/analysis{query}")
    alone = await rest.get(f"{image}/detection?minScore=0.1&labels=cat,dog")
    assert answer.json["detection"]["result"] == alone.json["detection"]
    written = "detection.labels=cat,dog&detection.minScore=0.1&include=detection,nsfw"
    place = f"{image}/analysis?{written}&release={answer.json['release']}"
    assert answer.headers["Content-Location"] == place
    assert (await rest.get(place)).body == answer.body


async def test_policy_of_the_verdict(rest: World, image: str):
    """The verdict is by the policy that is asked for."""
    answer = await rest.get(f"{image}/analysis?policy=strict")
    assert answer.json["moderation"]["result"]["decision"] == "REJECTED"
    assert answer.json["moderation"]["result"]["policy"]["name"] == "strict"
    assert "policy=strict" in answer.headers["Content-Location"]


async def test_fields_of_parts(rest: World, image: str):
    """`fields` reaches into every part; what a part does not have is null."""
    path = f"{image}/analysis?fields=nsfw/result,moderation(result(decision)),imageId"
    answer = (await rest.get(path)).json
    assert answer == {
        "imageId": image.rpartition("/")[2],
        "nsfw": {"result": {"score": rest.model.score}},
        "moderation": {"result": {"decision": "APPROVED"}},
    }


async def test_fields_of_what_is_not_there(rest: World, image: str):
    """What is selected of a part that failed is null, and of its error what was asked for."""
    rest.detection.error = errors.Unavailable("down")
    answer = await rest.get(f"{image}/analysis?fields=detection(error/code,result/detections)")
    error = {"code": "MODEL_UNAVAILABLE"}
    assert answer.json == {"detection": {"result": None, "error": error}}


@every_model
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Unavailable("down"), "MODEL_UNAVAILABLE"),
        (errors.Overloaded("busy"), "OVERLOADED"),
        (RuntimeError("secret"), "INTERNAL"),
    ],
)
async def test_each_model_fails_alone(
    rest: World, image: str, model: str, error: Exception, code: str
):
    """A model that fails is one error; the others' results are there, and nobody keeps that."""
    fail(rest, model, error)
    answer = await rest.get(f"{image}/analysis")
    assert answer.status == 200
    assert answer.json[model]["error"]["code"] == code
    assert answer.json[model]["result"] is answer.json[model]["model"] is None
    assert b"secret" not in answer.body
    for other in {*MODELS} - {model}:
        assert answer.json[other]["error"] is None
        assert answer.json[other]["result"] is not None
    check_not_kept(answer)
    fail(rest, model, None)
    whole = await rest.get(answer.headers["Content-Location"])
    assert (whole.status, whole.headers["Cache-Control"]) == (200, PINNED)
    assert whole.json[model]["error"] is None


def check_not_kept(answer: Any) -> None:
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


async def test_lost_moderation_is_one_error(rest: World, image: str):
    """Without moderation the models' results are there, and the verdict's error."""
    rest.moderation.fails = errors.Unavailable("down")
    answer = await rest.get(f"{image}/analysis")
    assert answer.status == 200
    assert answer.json["moderation"]["result"] is None
    assert answer.json["moderation"]["error"]["code"] == "UNAVAILABLE"
    assert all(answer.json[model]["result"] for model in MODELS)
    check_not_kept(answer)


async def test_undetermined_verdict_is_not_kept(rest: World, image: str):
    """A verdict that may change makes the whole answer one that may change."""
    rest.nsfw.error = errors.Unavailable("down")
    answer = await rest.get(f"{image}/analysis?include=detection,moderation")
    assert answer.json["moderation"]["result"]["missing"] == ["nsfw"]
    assert answer.json["detection"]["error"] is None
    check_not_kept(answer)


@pytest.mark.parametrize(
    ("nsfw", "detection", "status", "code"),
    [
        (errors.Unavailable("down"), errors.Unavailable("down"), 503, "MODEL_UNAVAILABLE"),
        (errors.DeadlineExceeded("late"), errors.Unavailable("down"), 503, "MODEL_UNAVAILABLE"),
        (
            errors.DeadlineExceeded("late"),
            errors.DeadlineExceeded("late"),
            504,
            "DEADLINE_EXCEEDED",
        ),
        (errors.CorruptImage("cut"), errors.Unavailable("down"), 422, "CORRUPT_IMAGE"),
        (RuntimeError("secret"), errors.DeadlineExceeded("late"), 504, "DEADLINE_EXCEEDED"),
        (RuntimeError("secret"), RuntimeError("secret"), 500, "INTERNAL"),
    ],
)
async def test_nobody_answers(
    rest: World, image: str, nsfw: Exception, detection: Exception, status: int, code: str
):
    """When all fail it is a problem: the image's own fault first, then what may come back."""
    rest.nsfw.error, rest.detection.error = nsfw, detection
    answer = await rest.get(f"{image}/analysis?include=detection,nsfw")
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "nsfw: " in answer.json["detail"]
    assert "detection: " in answer.json["detail"]
    assert "secret" not in answer.json["detail"]


async def test_hanging_model_costs_its_own_result(rest: World, image: str):
    """A model that hangs has failed a little before the deadline; the others' results are kept."""
    rest.nsfw.hanging = True
    begun = time.monotonic()
    answer = await rest.get(f"{image}/analysis", x_request_timeout_ms="1500")
    assert time.monotonic() - begun < 1.5
    assert answer.status == 200
    assert answer.json["nsfw"]["error"]["code"] == "DEADLINE_EXCEEDED"
    assert answer.json["detection"]["error"] is None
    verdict = answer.json["moderation"]["result"]
    assert (verdict["decision"], verdict["missing"]) == ("UNDETERMINED", ["nsfw"])
    check_not_kept(answer)


async def test_all_hang(rest: World, image: str):
    """When nobody answers in time it is a 504 that names the client's time."""
    rest.nsfw.hanging = True
    answer = await rest.get(f"{image}/analysis?include=nsfw", x_request_timeout_ms="300")
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_stored_results_of_lost_models(rest: World, image: str):
    """What was seen before stays a complete answer while its models are lost, pinned or not."""
    before = await rest.get(f"{image}/analysis")
    for model in MODELS:
        fail(rest, model, errors.Unavailable("down"))
    for path in (f"{image}/analysis", before.headers["Content-Location"]):
        answer = await rest.get(path)
        assert (answer.status, answer.body) == (200, before.body)
        assert answer.headers["ETag"] == before.headers["ETag"]


async def test_not_modified_without_inference(tmp_path: Path, jpeg: bytes):
    """A tag follows from versions alone: a facade that never asked a model answers 304."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with world(tmp_path / "one") as first:
        path = f"/v1/images/{await first.upload(jpeg)}/analysis"
        answer = await first.get(path)
    async with world(tmp_path / "two") as second:
        await second.upload(jpeg)
        again = await second.get(path, If_None_Match=answer.headers["ETag"])
        assert again.status == 304
        assert again.headers["Content-Location"] == answer.headers["Content-Location"]
        assert second.model.predictions == second.detector.predictions == 0


async def test_pinned_for_ever(rest: World, image: str):
    """At its place an answer is immutable and the same, and a 304 there says so."""
    answer = await rest.get(f"{image}/analysis")
    place = answer.headers["Content-Location"]
    pinned = await rest.get(place)
    assert (pinned.status, pinned.body) == (200, answer.body)
    assert pinned.headers["Cache-Control"] == PINNED
    assert pinned.headers["ETag"] == answer.headers["ETag"]
    again = await rest.get(place, If_None_Match=answer.headers["ETag"])
    assert (again.status, again.headers["Cache-Control"]) == (304, PINNED)
    release = place.rpartition("=")[2]
    assert (await rest.get(f"{image}/analysis?release={release}")).body == answer.body


async def test_release_that_is_not_served_any_more(tmp_path: Path, jpeg: bytes):
    """Of an old release comes what is stored; what is not is missing, never another version's."""
    async with world(tmp_path, versions_ttl_s=0.0) as rest:
        image = f"/v1/images/{await rest.upload(jpeg)}"
        release = (await rest.get(f"{image}/detection")).json["release"]
        rest.new_version(NEW)
        answer = await rest.get(f"{image}/analysis?release={release}")
        assert answer.json["release"] == release
        assert answer.json["nsfw"]["error"]["code"] == "RESULT_NOT_FOUND"
        assert answer.json["detection"]["error"] is None
        check_not_kept(answer)
        alone = await rest.get(f"{image}/analysis?release={release}&include=nsfw")
        assert (alone.status, alone.json["code"]) == (404, "RESULT_NOT_FOUND")


async def test_made_up_release(rest: World, image: str):
    """A release that was never named is not found."""
    answer = await rest.get(f"{image}/analysis?release={MADE_UP}")
    assert (answer.status, answer.json["code"]) == (404, "RELEASE_NOT_FOUND")


async def test_two_versions_at_once(rest: World, image: str):
    """While two versions of a model answer, verdict and result of one answer are of the same."""
    store, results = ImageStore(rest.objects), Results.over(rest.objects)
    other = FakeModel()
    other.version, other.score = NEW, 0.9
    plane = DataPlane(other, store, results)
    about = describe(
        name="nsfw", version=NEW, description="Newer.", labels=other.labels, license="BSD-2-Clause"
    )
    rest.nsfw.replica = NsfwServicer(plane, about)
    try:
        seen = set()
        for part in ("moderation,nsfw", "detection,moderation,nsfw") * 2:
            rest.nsfw.calls += 1  # so that each of both is asked by the facade itself
            answer = (await rest.get(f"{image}/analysis?include={part}")).json
            version = answer["nsfw"]["model"]["version"]
            seen.add(version)
            verdict = answer["moderation"]["result"]
            assert [model["version"] for model in verdict["models"]] == [version]
            assert verdict["isCompliant"] is (answer["nsfw"]["result"]["score"] < 0.8)
            named = (await rest.get(f"/v1/releases/{answer['release']}")).json["models"]
            assert {"name": "nsfw", "version": version} in named
        assert seen == {rest.model.version, NEW}
    finally:
        await plane.close()
        await results.close()
        await store.close()


async def test_unknown_image_is_said_at_once(rest: World):
    """That the image is not there is the whole answer, also while a model hangs."""
    rest.nsfw.hanging = True
    async with asyncio.timeout(WAIT_S):
        answer = await rest.get(f"/v1/images/{'0' * 64}/analysis")
    assert (answer.status, answer.json["code"]) == (404, "IMAGE_NOT_FOUND")


async def test_deleted_is_gone(rest: World, image: str):
    """Existence comes before every answer, also before a 304."""
    answer = await rest.get(f"{image}/analysis")
    await rest.ask("DELETE", image)
    for path in (f"{image}/analysis", answer.headers["Content-Location"]):
        for tag in (answer.headers["ETag"], "*", '"other"'):
            gone = await rest.get(path, If_None_Match=tag)
            assert (gone.status, gone.json["code"]) == (404, "IMAGE_NOT_FOUND")


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("include=mind-reading", "include", "there are: "),
        ("include=nsfw,,detection", "include", "there is no ''"),
        ("include=nsfw&include=detection", "include", "two values"),
        ("include=nsfw&policy=strict", "policy", "known are: include, release"),
        ("include=nsfw&detection.minScore=0.5", "detection.minScore", "unknown parameter"),
        ("detection.minScore=2", "detection.minScore", "detection: minScore"),
        ("detection.labels=gun", "detection.labels", "'gun'"),
        ("minScore=0.5", "minScore", "detection.minScore"),
        ("include=nsfw&fields=detection", "fields", "known are: imageId, release, image, nsfw"),
        ("release=latest", "release", "hexadecimal"),
        ("policy=No!", "policy", "lower-case"),
    ],
)
async def test_is_refused(rest: World, image: str, query: str, field: str, words: str):
    """What is asked wrongly is refused as a whole, naming the parameter and what it may be."""
    answer = await rest.ask("GET", f"{image}/analysis?{query}", check=False)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")
    assert answer.json["field"] == field
    assert words in answer.json["detail"]


async def test_unknown_policy(rest: World, image: str):
    """A policy that there is not is no verdict's failure but the request's."""
    answer = await rest.get(f"{image}/analysis?policy=nope")
    assert (answer.status, answer.json["code"]) == (404, "POLICY_NOT_FOUND")


async def test_tenants(tmp_path: Path, jpeg: bytes):
    """An analysis is for who has the image."""
    async with world(tmp_path, token="secret") as rest:
        path = f"/v1/images/{await rest.of('acme').upload(jpeg)}/analysis"
        answer = await rest.of("acme").get(path)
        assert answer.status == 200
        for tag in (answer.headers["ETag"], '"other"'):
            other = await rest.of("other").get(path, If_None_Match=tag)
            assert other.json["code"] == "IMAGE_NOT_FOUND"
