"""`/v1/models/{model}:predict`: what TensorFlow Serving's clients send, and what they get back."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from services import errors
from services.limits import MAX_BATCH_IMAGES, MAX_IMAGE_BYTES, MAX_PREDICT_BYTES
from services.rest.model_views import MODEL_VIEWS
from tests.rest.world import Answer, World, world
from tests.support import photos

MODELS = tuple(view.name for view in MODEL_VIEWS)
PATH = "/v1/models/nsfw:predict"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


async def predict(rest: World, request: Any, path: str = PATH, **headers: str) -> Answer:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return await rest.post(path, body, "application/json", **headers)


@pytest.mark.parametrize("model", MODELS)
async def test_equals_what_the_models_own_path_says(rest: World, jpeg: bytes, model: str):
    """A prediction is the result that the model's own path answers, and leaves nothing stored."""
    answer = await predict(rest, {"instances": [b64(jpeg)]}, f"/v1/models/{model}:predict")
    assert answer.headers["Cache-Control"] == "no-store"
    assert rest.stored_files() == []
    alone = await rest.get(f"/v1/images/{await rest.upload(jpeg)}/{model}")
    assert answer.json == {"predictions": [alone.json[model]]}


@pytest.mark.parametrize(
    ("of", "answer"),
    [
        (lambda image: {"instances": [image]}, "predictions"),
        (lambda image: {"instances": [{"image_bytes": image}]}, "predictions"),
        (lambda image: {"signature_name": "serving_default", "instances": [image]}, "predictions"),
        (lambda image: {"inputs": [image]}, "outputs"),
        (lambda image: {"inputs": image}, "outputs"),
        (lambda image: {"inputs": {"image_bytes": [image]}}, "outputs"),
        (lambda image: {"inputs": {"image_bytes": image}}, "outputs"),
    ],
)
async def test_rows_and_columns(rest: World, jpeg: bytes, of: Any, answer: str):
    """What is asked in rows is answered in rows, and what is asked in columns in columns."""
    found = await predict(rest, of(b64(jpeg)))
    assert found.json == {answer: [{"score": rest.model.score}]}


async def test_curl_of_the_documentation(rest: World, jpeg: bytes):
    """`curl -d JSON -X POST URL`, as TensorFlow Serving's page has it, is understood."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-s", "-d", "@-", "-X", "POST", f"http://127.0.0.1:{rest.port}{PATH}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(json.dumps({"instances": [b64(jpeg)]}).encode())
    assert json.loads(output) == {"predictions": [{"score": rest.model.score}]}


async def test_stored_images_by_their_ids(rest: World, jpeg: bytes):
    """An instance may be the id of a stored image, beside inline ones."""
    instances = [{"imageId": await rest.upload(jpeg)}, b64(photos.jpeg(64, 50))]
    answer = await predict(rest, {"instances": instances})
    assert answer.json == {"predictions": [{"score": rest.model.score}] * 2}


async def test_bad_items_fail_alone(rest: World, jpeg: bytes):
    """Each image that cannot be looked at has an error in its place; the others have results."""
    good = {"score": rest.model.score}
    instances = [
        b64(jpeg),
        {"b64": "not base64!"},
        {"b64": b64(jpeg)["b64"].rstrip("=")[:-1]},
        {"b64": ""},
        b64(jpeg[:-200]),
        b64(b"a text"),
        {"imageId": "0" * 64},
        {"imageId": "cat"},
        b64(bytes(MAX_IMAGE_BYTES + 1)),
        b64(jpeg),
    ]
    found = (await predict(rest, {"instances": instances})).json["predictions"]
    assert found[0] == found[-1] == good
    assert [one["error"]["code"] for one in found[1:-1]] == [
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "EMPTY_IMAGE",
        "CORRUPT_IMAGE",
        "UNSUPPORTED_FORMAT",
        "IMAGE_NOT_FOUND",
        "INVALID_ARGUMENT",
        "IMAGE_TOO_LARGE",
    ]
    assert found[1]["error"]["detail"].startswith("instances[1].b64: is not base64")


async def test_a_full_batch_is_one_call(rest: World):
    """128 images come back in their order."""
    ids = [await rest.upload(photos.jpeg(16, 16 + n)) for n in range(3)]
    order = [ids[n % 3] for n in range(MAX_BATCH_IMAGES)]
    order[7] = "0" * 64
    answer = await predict(rest, {"instances": [{"imageId": one} for one in order]})
    found = answer.json["predictions"]
    assert len(found) == MAX_BATCH_IMAGES
    assert [n for n, one in enumerate(found) if "error" in one] == [7]
    assert rest.nsfw.calls == 1
    assert rest.model.predictions == 3


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (b"", "body", "is not valid JSON"),
        (b"{", "body", "is not valid JSON"),
        (b"[]", "body", "is not a JSON object"),
        (b"[" * 2000, "body", "is not valid JSON"),
        (b'{"instances": [' + b"{}," * 10_000_000 + b"{}]}", "body", "more values"),
        ({}, "body", "either instances or inputs"),
        ({"instances": [b64(b"x")], "inputs": [b64(b"x")]}, "body", "not both"),
        ({"instances": [], "labels": 1}, "body", "known are: signature_name, instances, inputs"),
        ({"instances": []}, "instances", "0 images"),
        ({"instances": [b64(b"x")] * 129}, "instances", "129 images"),
        ({"instances": {"b64": "eA=="}}, "instances", "is not a list"),
        ({"instances": [1.0, 2.0, 5.0]}, "instances[0]", "is none of"),
        ({"instances": [b64(b"x"), {"b64": 1}]}, "instances[1]", "is none of"),
        ({"instances": [{"b64": "eA==", "imageId": "x"}]}, "instances[0]", "is none of"),
        ({"inputs": {"pixels": [b64(b"x")]}}, "inputs[0]", "image_bytes"),
        ({"signature_name": "raw", "inputs": [b64(b"x")]}, "signature_name", "serving_default"),
    ],
)
async def test_is_refused(rest: World, request_: Any, field: str, words: str):
    """What is no such request is refused as a whole, naming the part that is wrong."""
    answer = await predict(rest, request_)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")
    assert answer.json["field"] == field
    assert words in answer.json["detail"]
    assert rest.model.predictions == 0


async def test_too_many_bytes(rest: World):
    """More inline bytes than one call may have are refused, also of small enough images."""
    many = await predict(rest, {"instances": [b64(bytes(12_010_000))] * 2})
    assert (many.status, many.json["code"], many.json["field"]) == (
        413,
        "IMAGE_TOO_LARGE",
        "instances",
    )
    body = await predict(rest, b" " * (MAX_PREDICT_BYTES + 1))
    assert (body.status, body.json["limit"]) == (413, f"{MAX_PREDICT_BYTES} bytes")


async def test_budget_counts_what_decoding_takes(tmp_path: Path, jpeg: bytes):
    """A body is refused when there is room for it but not for what it holds."""
    request = json.dumps({"instances": [b64(jpeg)]}).encode()
    async with world(tmp_path, upload_budget_bytes=2 * len(request)) as rest:
        answer = await predict(rest, request)
        assert (answer.status, answer.json["code"]) == (503, "OVERLOADED")
    (tmp_path / "more").mkdir()
    async with world(tmp_path / "more", upload_budget_bytes=3 * len(request)) as rest:
        for _ in range(2):
            assert (await predict(rest, request)).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "image/jpeg", "multipart/form-data"])
async def test_other_types_are_refused(rest: World, content_type: str):
    """What is called neither JSON nor curl's default is 415, saying what is taken."""
    answer = await rest.post(PATH, b"{}", content_type)
    assert (answer.status, answer.headers["Accept"]) == (415, "application/json")


async def test_unknown_model(rest: World, jpeg: bytes):
    """A model that there is not is 404, naming those that there are; other methods are 405."""
    answer = await predict(rest, {"instances": [b64(jpeg)]}, "/v1/models/half_plus_three:predict")
    assert (answer.status, answer.json["code"]) == (404, "MODEL_NOT_FOUND")
    assert "nsfw" in answer.json["detail"]
    # openapi-core takes this path for that of a model.
    assert (await rest.ask("GET", PATH, check=False)).headers["Allow"] == "POST"


async def test_parameters_and_times(rest: World):
    """A query string is refused, and a time beyond a batch's."""
    refused = await rest.ask("POST", f"{PATH}?minScore=1", b"{}", check=False)
    assert (refused.status, refused.json["field"]) == (400, "minScore")
    late = await predict(rest, {"instances": []}, x_request_timeout_ms="60001")
    assert late.json["limit"] == "60000 ms"
    assert (await predict(rest, {}, x_request_timeout_ms="60000")).json["field"] == "body"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Unavailable("down"), 503, "MODEL_UNAVAILABLE"),
        (errors.Overloaded("busy"), 503, "OVERLOADED"),
        (RuntimeError("secret"), 500, "INTERNAL"),
    ],
)
async def test_lost_model(rest: World, jpeg: bytes, error: Exception, status: int, code: str):
    """A model that fails as a whole is a problem, not a batch of errors."""
    rest.nsfw.error = error
    answer = await predict(rest, {"instances": [b64(jpeg), b64(photos.jpeg(20, 20))]})
    assert (answer.status, answer.json["code"]) == (status, code)


async def test_nothing_succeeds(rest: World):
    """One image that is broken is what it is for the model's own path: a problem."""
    answer = await predict(rest, {"instances": [b64(b"a text")]})
    assert (answer.status, answer.json["code"]) == (415, "UNSUPPORTED_FORMAT")
    answer = await predict(rest, {"instances": [{"b64": "!"}, {"imageId": "0" * 64}]})
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")


async def test_hanging_model_is_a_504(rest: World, jpeg: bytes):
    """The time that the client gives bounds a batch as well."""
    rest.nsfw.hanging = True
    answer = await predict(rest, {"instances": [b64(jpeg)]}, x_request_timeout_ms="300")
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_other_tenants_images(tmp_path: Path, jpeg: bytes):
    """An id is an image for who has it, and for nobody else."""
    async with world(tmp_path, token="secret") as rest:
        request = {"instances": [{"imageId": await rest.of("acme").upload(jpeg)}]}
        assert (await predict(rest.of("acme"), request)).status == 200
        other = await predict(rest.of("other"), request)
        assert (other.status, other.json["code"]) == (404, "IMAGE_NOT_FOUND")
