"""The OpenAPI document: what the facade promises, and what its answers look like."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import yaml

from services.rest import model_views, views
from services.rest.fields import Shape
from services.rest.model_views import MODEL_VIEWS, ModelView

SOURCE: Final = Path(__file__).with_name("openapi.yaml")

# libyaml's takes a tenth of the time, where the package was built with it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Document = dict[str, Any]


ANALYSIS: Final = "ImageAnalysis"
MODERATION: Final = "moderation"
"""What can be included in an analysis beside models."""


def load() -> Document:
    """The document as it is written, with what it says once for all models said for each of them.

    What one model answers in an analysis, and the parameters there, follow from its own path.
    """
    document: Document = yaml.load(SOURCE.read_bytes(), Loader=_LOADER)
    each = document.pop("x-each-model")
    components = document["components"]
    properties = components["schemas"][ANALYSIS]["properties"]
    moderation = properties.pop(MODERATION)
    for view in MODEL_VIEWS:
        properties[view.name] = deepcopy(each["analysis"])
        answer = components["schemas"][view.schema]["properties"][view.name]
        result = {"anyOf": [deepcopy(answer), {"type": "null"}]}
        properties[view.name]["properties"]["result"] = result
    properties[MODERATION] = moderation
    analysis = document["paths"]["/v1/images/{id}/analysis"]["get"]
    for view in MODEL_VIEWS:
        analysis["parameters"] += _own_parameters(document, view)
    predictions = components["schemas"]["PredictResponse"]["properties"]["predictions"]
    predictions["items"]["anyOf"] += [
        deepcopy(components["schemas"][view.schema]["properties"][view.name])
        for view in MODEL_VIEWS
    ]
    included = components["parameters"]["include"]["schema"]["items"]
    included["enum"] = sorted([*included["enum"], *(view.name for view in MODEL_VIEWS)])
    return document


def _own_parameters(document: Document, view: ModelView) -> list[dict[str, Any]]:
    """A model's own parameters, under its name."""
    parameters = document["paths"][f"/v1/images/{{id}}/{view.name}"]["get"]["parameters"]
    found = {one["name"]: one for one in map(partial(_resolved, document), parameters)}
    return [{**deepcopy(found[name]), "name": view.parameter(name)} for name in view.parameters]


def shape_of(document: Document, schema: str) -> Shape:
    """The properties that an answer can have, by the name of its schema."""
    shape = _shape(document, document["components"]["schemas"][schema])
    assert shape is not None
    return shape


def representation_version() -> str:
    """Changes whenever the same facts may be written differently, so that entity tags do too."""
    sources = (SOURCE, Path(views.__file__), Path(model_views.__file__))
    written_by = b"".join(source.read_bytes() for source in sources)
    return blake2b(written_by, digest_size=8).hexdigest()


def _resolved(document: Document, value: dict[str, Any]) -> dict[str, Any]:
    """What a reference to a component stands for; anything else is itself."""
    if not (reference := value.get("$ref")):
        return value
    _, components, kind, name = reference.split("/")
    found: dict[str, Any] = document[components][kind][name]
    return found


def _shape(document: Document, schema: dict[str, Any]) -> Shape | None:
    if "$ref" in schema:
        return _shape(document, _resolved(document, schema))
    if properties := schema.get("properties"):
        return {name: _shape(document, below) for name, below in properties.items()}
    if items := schema.get("items"):
        return _shape(document, items)
    shapes = (_shape(document, choice) for choice in schema.get("anyOf", ()))
    return next((shape for shape in shapes if shape), None)
