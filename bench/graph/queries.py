"""What is asked: of the graph, and of REST for the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

FIELDS: Final = {
    "nsfw": "nsfw { score }",
    "detection": "detection(minScore: 0) { detections { label score box { x y width height } } }",
    "ocr": "ocr { text lines { text score box { x y width height } corners { x y } } }",
    "logo": "logo { logos { brand score box { x y width height } corners { x y } } }",
}
"""Each model's field with all that REST says of it, but for the model and the image's size."""

PATH: Final = "/graphql"

ERRORS: Final = '"errors"'
ERROR: Final = '"error":{'
"""What an answer has that is not whole, of the graph and of REST's analysis."""


def one(models: Sequence[str]) -> str:
    """The document that asks some models about one image."""
    return f"query One($id: ID!) {{ image(id: $id) {{ {_fields(models)} }} }}"


def many(models: Sequence[str]) -> str:
    """The document that asks some models about many images."""
    return f"query Many($ids: [ID!]!) {{ images(ids: $ids) {{ id {_fields(models)} }} }}"


def body(document: str, **variables: object) -> str:
    """A request, as it is posted."""
    return json.dumps({"query": document, "variables": variables})


def in_a_row(models: Sequence[str], digest: str) -> list[str]:
    """Where REST says the same, model by model."""
    return [f"/v1/images/{digest}/{model}" for model in models]


def at_once(models: Sequence[str], digest: str) -> str:
    """Where REST says the same in one answer."""
    return f"/v1/images/{digest}/analysis?include={','.join(sorted(models))}"


def _fields(models: Sequence[str]) -> str:
    return " ".join(FIELDS[model] for model in models)
