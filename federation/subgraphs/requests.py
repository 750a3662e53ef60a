"""GraphQL requests out of HTTP bodies that are in memory already.

JSON as https://graphql.github.io/graphql-over-http/ has it, and forms with files as
https://github.com/jaydenseric/graphql-multipart-request-spec has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from federation.subgraphs.ids import MAX_ENTITIES, check_count
from services.errors import InvalidArgument
from services.names import image_id

MAX_JSON_BYTES: Final = 2_000_000
"""One request without files: 512 ids, and documents that no person wrote."""

MAX_TOGETHER: Final = 100
"""Requests in one body (a guess): a query of eight aliases asks each subgraph as often."""

MAX_PARTS: Final = 8
"""Of a form: operations, map, and some files."""

MAX_HEADERS: Final = 8
MAX_HEADER_BYTES: Final = 4_096
"""Of one part."""


@dataclass(frozen=True)
class GraphQLRequest:
    """A document, and what it is executed with."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    operation_name: str | None = None


@dataclass(frozen=True)
class Part:
    """One of several requests in one body: to which subgraph, and in which trace."""

    subgraph: str
    trace: dict[str, str]
    request: Any


def parts_from_json(body: bytes) -> list[Part]:
    """The requests of `[{"subgraph": …, "trace": {…}, "request": {…}}, …]`.

    Raises InvalidArgument for what is no such list; `from_content` looks at each request.
    """
    content = _json(body, "body")
    if not isinstance(content, list) or not 0 < len(content) <= MAX_TOGETHER:
        raise InvalidArgument(
            f"body is a list of 1 to {MAX_TOGETHER} requests",
            field="body",
            limit=str(MAX_TOGETHER),
        )
    return [_part(each) for each in content]


def _part(content: Any) -> Part:
    if not isinstance(content, dict) or not isinstance(content.get("subgraph"), str):
        raise InvalidArgument("each request names its subgraph", field="subgraph")
    trace = content.get("trace") or {}
    if not isinstance(trace, dict) or not all(isinstance(each, str) for each in trace.values()):
        raise InvalidArgument("trace has headers", field="trace")
    return Part(content["subgraph"], trace, content.get("request"))


def from_json(body: bytes) -> GraphQLRequest:
    """The request of a JSON body. Raises InvalidArgument."""
    return from_content(_json(body, "body"))


def ids_from_json(body: bytes) -> list[str]:
    """The image ids of `{"ids": […]}`, each once. Raises InvalidArgument."""
    content = _json(body, "body")
    ids = content.get("ids") if isinstance(content, dict) else None
    if not isinstance(ids, list):
        raise InvalidArgument("ids is a list", field="ids")
    check_count(ids, "ids", MAX_ENTITIES)
    return list(dict.fromkeys(image_id(str(each)) for each in ids))


def from_form(content_type: str, body: bytes) -> GraphQLRequest:
    """The request of a form; its files are bytes where variables name them.

    Raises InvalidArgument.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    try:
        parts = _parts(boundary, body)
    except (MultipartError, ValueError) as error:
        raise InvalidArgument("the form is cut off or malformed", field="body") from error
    operations = _json(parts.pop("operations", b""), "operations")
    places = _json(parts.pop("map", b""), "map")
    if not isinstance(operations, dict) or not isinstance(places, dict):
        raise InvalidArgument("operations and map are JSON objects", field="operations")
    for name, paths in places.items():
        if name not in parts:
            raise InvalidArgument(f"the form has no part named {name[:100]!r}", field="map")
        if not isinstance(paths, list):
            raise InvalidArgument("map gives a list of places for each file", field="map")
        for path in paths:
            _put(operations, str(path), parts[name])
    return from_content(operations)


def _parts(boundary: str, body: bytes) -> dict[str, bytes]:
    found: dict[str, list[bytes]] = {}
    current: list[bytes] = []
    with PushMultipartParser(
        boundary,
        max_header_count=MAX_HEADERS,
        max_header_size=MAX_HEADER_BYTES,
        max_segment_count=MAX_PARTS,
    ) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                current = found[event.name] = []
            elif event:
                current.append(bytes(event))
    return {name: b"".join(chunks) for name, chunks in found.items()}


def _put(operations: Any, path: str, content: bytes) -> None:
    """Put a file where a path like `variables.file` or `variables.files.0` leads."""
    *parents, last = path.split(".")
    place = operations
    try:
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        where: str | int = int(last) if isinstance(place, list) else last
        if place[where] is not None:
            raise KeyError(last)
        place[where] = content
    except (KeyError, IndexError, ValueError, TypeError):
        raise InvalidArgument(
            f"map names a place that is not there, or not null: {path[:100]!r}", field="map"
        ) from None


def _json(body: bytes, name: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidArgument(f"{name} is not JSON", field=name) from None


def from_content(content: Any) -> GraphQLRequest:
    """The request of what was JSON. Raises InvalidArgument."""
    if not isinstance(content, dict):
        raise InvalidArgument("a request is a JSON object", field="body")
    query = content.get("query")
    variables = content.get("variables") or {}
    name = content.get("operationName")
    if not isinstance(query, str) or not query:
        raise InvalidArgument("query is a GraphQL document", field="query")
    if not isinstance(variables, dict):
        raise InvalidArgument("variables is a JSON object", field="variables")
    if name is not None and not isinstance(name, str):
        raise InvalidArgument("operationName is a text", field="operationName")
    return GraphQLRequest(query, variables, name)
