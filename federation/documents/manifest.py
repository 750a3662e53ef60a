"""The manifest of persisted documents, made of the `.graphql` files beside it.

Its form is Apollo's, which other clients' tools write and read too. A document's id is the SHA-256
of its text as GraphQL's own printer writes it, which is what clients hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from graphql import (
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    parse,
    print_ast,
    validate,
)

FOLDER: Final = Path(__file__).resolve().parent


class InvalidDocument(Exception):
    """A file that is no document of this graph; the message names it."""


def documents() -> dict[str, str]:
    """The text of each file, by the file's name."""
    return {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.graphql"))}


def manifest(texts: Mapping[str, str], api: str) -> str:
    """The manifest of documents, each with one named operation, for the graph of an SDL.

    Raises InvalidDocument.
    """
    schema = build_schema(api)
    operations = [_operation(file, text, schema) for file, text in sorted(texts.items())]
    names = [operation["name"] for operation in operations]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidDocument(f"{twice[0]}: two documents have this name")
    content = {
        "format": "apollo-persisted-query-manifest",
        "version": 1,
        "operations": operations,
    }
    return json.dumps(content, indent=2) + "\n"


def _operation(file: str, text: str, schema: GraphQLSchema) -> dict[str, str]:
    try:
        document = parse(text)
    except GraphQLError as error:
        raise InvalidDocument(f"{file}: {error.message}") from error
    if errors := validate(schema, document):
        raise InvalidDocument(f"{file}: {errors[0].message}")
    found = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if len(found) != 1 or found[0].name is None:
        raise InvalidDocument(f"{file}: one operation with a name is needed")
    body = print_ast(document)
    return {
        "id": hashlib.sha256(body.encode()).hexdigest(),
        "name": found[0].name.value,
        "type": found[0].operation.value,
        "body": body,
    }
