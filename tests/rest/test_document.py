"""The OpenAPI document itself, and that it names exactly what the facade serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.rest import document, problems
from services.rest.app import create_app
from services.rest.settings import RestSettings
from tests.rest.world import World

CONTRACT = document.load()


def test_is_valid_openapi():
    """The document is valid OpenAPI 3.1."""
    assert CONTRACT["openapi"].startswith("3.1")
    validate(CONTRACT)


async def test_names_what_is_served():
    """Every route is an operation of the document, and every operation is a route."""
    async with MeshClient("127.0.0.1:1") as mesh:
        app = create_app(RestSettings(), mesh, Objects.open("memory://"))
        routes = {
            (route.method, _path(route))
            for route in app.router.routes()
            # HEAD answers wherever GET does, which the document says once.
            if route.method != "HEAD"
        }
    operations = {
        (method.upper(), path)
        for path, item in CONTRACT["paths"].items()
        for method in item
        if method in ("get", "put", "post", "delete", "patch")
    }
    assert routes == operations


async def test_is_served_as_json(rest: World):
    """/openapi.json is the document."""
    answer = await rest.get("/openapi.json")
    assert answer.status == 200
    assert answer.json == CONTRACT


def _resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = CONTRACT
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _examples() -> list[Any]:
    found = []
    for path, item in CONTRACT["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            for status, response in operation["responses"].items():
                for content in _resolved(response).get("content", {}).values():
                    for name, example in content.get("examples", {}).items():
                        value = _resolved(example)["value"]
                        where = f"{method} {path} {status} {name}"
                        found.append(pytest.param(content["schema"], value, id=where))
    return found


@pytest.mark.parametrize(("schema", "value"), _examples())
def test_examples_are_true(schema: dict[str, Any], value: Any):
    """Every example is what its schema describes."""
    with_components = {**schema, "components": CONTRACT["components"]}
    Draft202012Validator(with_components).validate(value)


def test_shape_follows_references():
    """The shape that `fields` selects from has the properties behind references and in lists."""
    shape = document.shape_of(CONTRACT, "ImageModeration")
    reasons = shape["rejectionReasons"]
    assert reasons is not None
    evidence = reasons["evidence"]
    assert evidence is not None
    assert list(evidence) == ["model", "label", "score", "box", "corners", "text"]
    assert list(evidence["corners"] or ()) == ["x", "y"]
    assert list(shape["image"] or ()) == ["width", "height"]
    assert shape["isCompliant"] is None


def test_representation_changes_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another document gives other entity tags: the same facts may be written differently."""
    before = document.representation_version()
    other = tmp_path / "openapi.yaml"
    other.write_bytes(document.SOURCE.read_bytes() + b"\n# another one\n")
    monkeypatch.setattr(document, "SOURCE", other)
    assert document.representation_version() != before


def test_documented_statuses_are_the_tables():
    """Every status of the table of problems is one that the document describes somewhere."""
    described = {
        int(status)
        for item in CONTRACT["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        for status in operation["responses"]
    }
    assert {kind.status.value for kind in problems.KINDS.values()} <= described


def _path(route: web.AbstractRoute) -> str:
    assert route.resource is not None
    return route.resource.canonical
