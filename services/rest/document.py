"""The OpenAPI document: what the facade promises, and what its answers look like."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import yaml

from services.rest import model_views, views
from services.rest.fields import Shape

SOURCE: Final = Path(__file__).with_name("openapi.yaml")

# libyaml's takes a tenth of the time, where the package was built with it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Document = dict[str, Any]


def load() -> Document:
    """The document as it is written."""
    document: Document = yaml.load(SOURCE.read_bytes(), Loader=_LOADER)
    return document


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


def _shape(document: Document, schema: dict[str, Any]) -> Shape | None:
    if reference := schema.get("$ref"):
        return _shape(document, document["components"]["schemas"][reference.rpartition("/")[2]])
    if properties := schema.get("properties"):
        return {name: _shape(document, below) for name, below in properties.items()}
    if items := schema.get("items"):
        return _shape(document, items)
    shapes = (_shape(document, choice) for choice in schema.get("anyOf", ()))
    return next((shape for shape in shapes if shape), None)
