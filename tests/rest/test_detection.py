"""`/v1/images/{id}/detection`: what the model sees, of it what is asked for, and how it is kept."""

from __future__ import annotations

import pytest

from services import errors
from services.detection.labels import LABELS
from services.rest import document
from tests.rest.world import World


@pytest.fixture
async def path(rest: World, jpeg: bytes) -> str:
    return f"/v1/images/{await rest.upload(jpeg)}/detection"


async def test_objects_of_an_image(rest: World, path: str):
    """An image's objects come with image, model, release, and boxes in its own pixels."""
    answer = await rest.get(f"{path}?minScore=0")
    size = answer.json["image"]
    assert answer.status == 200
    assert answer.json["model"] == {"name": "detection", "version": rest.detector.version}
    assert answer.json["imageId"] in path
    found = answer.json["detection"]["detections"]
    assert [(one["label"], one["score"]) for one in found] == [
        ("cat", 0.75),
        ("dog", 0.5),
        ("dining table", 0.25),
    ]
    assert found[2]["box"] == {"x": 0, "y": 0, **size}


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("", ["cat", "dog"]),
        ("?minScore=0", ["cat", "dog", "dining table"]),
        ("?minScore=0.6", ["cat"]),
        ("?minScore=1", []),
        ("?minScore=25e-2", ["cat", "dog", "dining table"]),
        ("?labels=dog", ["dog"]),
        ("?labels=dog,cat", ["cat", "dog"]),
        ("?labels=dining%20table&minScore=0.1", ["dining table"]),
        ("?labels=zebra", []),
        ("?maxResults=1", ["cat"]),
        ("?maxResults=1&labels=dog", ["dog"]),
    ],
)
async def test_parameters_leave_out_what_is_not_asked_for(
    rest: World, path: str, query: str, labels: list[str]
):
    """Score, kinds and number leave out of the stored result, with the model and without."""
    answer = await rest.get(f"{path}{query}")
    assert [one["label"] for one in answer.json["detection"]["detections"]] == labels
    rest.detection.error = errors.Unavailable("down")
    assert (await rest.get(f"{path}{query}")).json == answer.json


async def test_any_number_of_questions_is_one_inference(rest: World, path: str):
    """Parameters are applied to what is stored: they cost no inference."""
    for query in ("", "?minScore=0.3", "?labels=cat", "?maxResults=7", "?labels=dog&minScore=0.9"):
        assert (await rest.get(f"{path}{query}")).status == 200
    assert rest.detector.predictions == 1


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("", ""),
        ("minScore=0.4", ""),
        ("maxResults=100", ""),
        ("minScore=0.50", "minScore=0.5&"),
        ("minScore=1.0", "minScore=1&"),
        ("labels=dog,cat,dog", "labels=cat,dog&"),
        ("minScore=5e-1&maxResults=7&labels=dog", "labels=dog&maxResults=7&minScore=0.5&"),
    ],
)
async def test_one_question_has_one_url(rest: World, path: str, query: str, written: str):
    """However a question is written, its answer's place and entity tag are the same."""
    answer = await rest.get(f"{path}?{query}" if query else path)
    place = answer.headers["Content-Location"]
    expected = sorted([*written.rstrip("&").split("&"), f"release={answer.json['release']}"])
    assert place == f"{path}?{'&'.join(part for part in expected if part)}"
    pinned = await rest.get(place)
    assert pinned.json == answer.json
    assert pinned.headers["ETag"] == answer.headers["ETag"]
    assert "immutable" in pinned.headers["Cache-Control"]
    again = await rest.get(place, If_None_Match=answer.headers["ETag"])
    assert again.status == 304


async def test_another_question_has_another_tag(rest: World, path: str):
    """What a client has of one question is not taken for the answer to another."""
    queries = ("", "?minScore=0.5", "?maxResults=5", "?labels=cat", "?labels=dog")
    tags = {(await rest.get(f"{path}{query}")).headers["ETag"] for query in queries}
    assert len(tags) == len(queries)


@pytest.mark.parametrize(
    ("query", "field", "limit"),
    [
        ("minScore=-1", "minScore", "1"),
        ("minScore=1.01", "minScore", "1"),
        ("minScore=NaN", "minScore", "1"),
        ("minScore=much", "minScore", "1"),
        ("minScore=0x1", "minScore", "1"),
        ("maxResults=0", "maxResults", "100"),
        ("maxResults=101", "maxResults", "100"),
        ("labels=unicorn", "labels", "person"),
        ("labels=cat,,dog", "labels", "person"),
        ("labels=cat&labels=dog", "labels", "1"),
        ("threshold=1", "threshold", ""),
    ],
)
async def test_wrong_parameters_are_named(
    rest: World, path: str, query: str, field: str, limit: str
):
    """A parameter that is not valid is refused, naming it and what it may be."""
    answer = await rest.ask("GET", f"{path}?{query}", check=False)
    assert answer.status == 400
    assert answer.json["field"] == field
    assert limit in answer.json.get("limit", "")


async def test_unknown_label_names_the_known_ones(rest: World, path: str):
    """Who asks for a kind that there is not is told which there are."""
    answer = await rest.get(f"{path}?labels=gun")
    assert answer.status == 400
    assert "'gun'" in answer.json["detail"]
    assert "knife" in answer.json["detail"]


async def test_lost_model_that_never_looked_is_said(rest: World, path: str):
    """Without a model and without a stored result the answer is 503, naming the model."""
    rest.detection.error = errors.Unavailable("down")
    answer = await rest.get(path)
    assert (answer.status, answer.json["code"]) == (503, "MODEL_UNAVAILABLE")
    assert "detection" in answer.json["detail"]


def test_document_names_every_label():
    """The kinds that the document lists are those that the model knows."""
    schema = document.load()["components"]["parameters"]["labels"]["schema"]
    assert tuple(schema["items"]["enum"]) == LABELS
