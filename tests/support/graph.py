"""Asking the graph of a whole mesh, through Envoy."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from federation.documents.manifest import FOLDER
from tests.support.whole import Answer, World


class GraphAnswer(Answer):
    """An answer of the graph that has been read to its end."""

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def places(self) -> dict[tuple[str | int, ...], str]:
        """The codes of all errors, by path."""
        return {
            tuple(error["path"]): error["extensions"]["code"]
            for error in self.json.get("errors", [])
        }


def document(name: str) -> str:
    """The id of a persisted document, by the name of its operation."""
    operations = json.loads((FOLDER / "manifest.json").read_text())["operations"]
    (found,) = (operation["id"] for operation in operations if operation["name"] == name)
    return str(found)


async def ask(
    mesh: World,
    query: str,
    *,
    tenant: str | None = None,
    headers: dict[str, str] | None = None,
    **variables: Any,
) -> GraphAnswer:
    """POST a document. Underscores in header names stand for hyphens."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    sent = {"content_type": "application/json", **(headers or {})}
    return _read(await mesh.call("POST", "/graphql", data=body, tenant=tenant, **sent))


async def get(
    mesh: World,
    document_id: str,
    *,
    release: str = "",
    tenant: str | None = None,
    headers: dict[str, Any] | None = None,
    **variables: Any,
) -> GraphAnswer:
    """GET a persisted document, pinned to a release when there is one."""
    parameters = {"documentId": document_id, "variables": json.dumps(variables)}
    if release:
        parameters["release"] = release
    path = f"/graphql?{urlencode(parameters, quote_via=quote)}"
    return _read(await mesh.call("GET", path, data=None, tenant=tenant, **(headers or {})))


def _read(answer: Answer) -> GraphAnswer:
    return GraphAnswer(answer.status, answer.headers, answer.body)
