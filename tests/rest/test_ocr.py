"""`/v1/images/{id}/ocr`: what the model reads, of it what is asked for, and how it is kept."""

from __future__ import annotations

import pytest

from services import errors
from tests.rest.world import World


@pytest.fixture
async def path(rest: World, jpeg: bytes) -> str:
    return f"/v1/images/{await rest.upload(jpeg)}/ocr"


async def test_lines_of_an_image(rest: World, path: str):
    """An image's lines come with image, model, release, and places in its own pixels."""
    answer = await rest.get(f"{path}?minScore=0")
    assert answer.status == 200
    assert answer.json["model"] == {"name": "ocr", "version": rest.reader.version}
    width, height = answer.json["image"]["width"], answer.json["image"]["height"]
    assert answer.json["ocr"]["text"] == "NO PARKING\nat any time"
    upper, lower = answer.json["ocr"]["lines"]
    assert (upper["text"], upper["score"]) == ("NO PARKING", 0.9)
    assert upper["box"] == {"x": 0, "y": 0, "width": width, "height": height // 2}
    assert lower["corners"] == [
        {"x": 0, "y": height // 2},
        {"x": width, "y": height // 2},
        {"x": width, "y": height},
        {"x": 0, "y": height},
    ]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "NO PARKING"),
        ("?minScore=0", "NO PARKING\nat any time"),
        ("?minScore=0.6", "NO PARKING\nat any time"),
        ("?minScore=0.61", "NO PARKING"),
        ("?minScore=1", ""),
    ],
)
async def test_score_leaves_out_lines_and_their_text(rest: World, path: str, query: str, text: str):
    """Lines that are not sure enough are in neither `lines` nor `text`, without the model too."""
    answer = await rest.get(f"{path}{query}")
    assert answer.json["ocr"]["text"] == text
    assert [line["text"] for line in answer.json["ocr"]["lines"]] == text.splitlines()
    rest.ocr.error = errors.Unavailable("down")
    assert (await rest.get(f"{path}{query}")).json == answer.json
    assert rest.reader.predictions == 1


@pytest.mark.parametrize(
    ("query", "written"), [("", ""), ("minScore=0.8", ""), ("minScore=0.40", "minScore=0.4&")]
)
async def test_default_is_the_models_own(rest: World, path: str, query: str, written: str):
    """What is default for this model is not written, what is default for another one is."""
    answer = await rest.get(f"{path}?{query}" if query else path)
    place = f"{path}?{written}release={answer.json['release']}"
    assert answer.headers["Content-Location"] == place
    assert (await rest.get(place)).json == answer.json


@pytest.mark.parametrize("query", ["minScore=1.01", "minScore=NaN", "labels=cat", "maxResults=1"])
async def test_wrong_parameters_are_named(rest: World, path: str, query: str):
    """A parameter that is not valid, or is another model's, is refused by its name."""
    answer = await rest.ask("GET", f"{path}?{query}", check=False)
    assert answer.status == 400
    assert answer.json["field"] == query.partition("=")[0]


async def test_lost_model_that_never_read_is_said(rest: World, path: str):
    """Without a model and without a stored result the answer is 503, naming the model."""
    rest.ocr.error = errors.Unavailable("down")
    answer = await rest.get(path)
    assert (answer.status, answer.json["code"]) == (503, "MODEL_UNAVAILABLE")
    assert "ocr" in answer.json["detail"]
