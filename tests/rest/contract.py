"""Holds every exchange with the facade to its OpenAPI document."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.templating.paths.exceptions import PathError
from werkzeug.datastructures import Headers, ImmutableMultiDict
from yarl import URL

from services.rest import document

PROBLEM = "application/problem+json"


@dataclass
class Request:
    """A request as openapi-core wants to see it."""

    url: URL
    method: str
    headers: Headers
    body: bytes | None
    parameters: RequestParameters = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(list(self.url.query.items())), header=self.headers
        )

    @property
    def host_url(self) -> str:
        return str(self.url.origin())

    @property
    def path(self) -> str:
        return self.url.path

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "")


@dataclass(frozen=True)
class Response:
    """A response as openapi-core wants to see it."""

    status_code: int
    headers: Headers
    data: bytes | None

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0]


class Contract:
    """The document, read strictly: no property that it does not name, none missing without cause.

    The document leaves open what `fields` may leave out. A request without `fields` gets all of it.
    """

    def __init__(self) -> None:
        contract = document.load()
        config = Config(extra_media_type_deserializers={PROBLEM: orjson.loads})
        self._partial = OpenAPI.from_dict(_closed(contract, complete=False), config=config)
        self._complete = OpenAPI.from_dict(_closed(contract, complete=True), config=config)

    def check(
        self,
        method: str,
        url: URL,
        request_headers: Mapping[str, str] | None,
        body: bytes | None,
        response: Response,
    ) -> None:
        """Raises an exception that says what the document does not describe.

        Without `request_headers` only the response is held to it.
        """
        headers = Headers(list((request_headers or {}).items()))
        request = Request(url, method.lower(), headers, body)
        contract = self._partial if "fields" in url.query else self._complete
        try:
            contract.validate_response(request, response)
        except PathError:
            _check_unrouted(contract, response)
            return
        if response.status_code < 400 and request_headers is not None:
            _check_accepted(contract, request)


def _check_accepted(contract: OpenAPI, request: Request) -> None:
    """What the facade accepts, the document must allow. Its bodies are bytes, and no JSON."""
    contract.validate_request(request)


def _check_unrouted(contract: OpenAPI, response: Response) -> None:
    """Paths and methods that the document does not have are 404 and 405, as problems."""
    assert response.status_code in (404, 405), "an answer to an operation that is not described"
    assert response.content_type == PROBLEM
    assert (response.status_code == 405) == ("Allow" in response.headers)


def _closed(value: Any, *, complete: bool) -> Any:
    """The document with every object schema closed, and with all properties required."""
    closed = copy.deepcopy(value)
    for schema in _object_schemas(closed["components"]["schemas"]):
        schema.setdefault("additionalProperties", False)
        if complete:
            schema.setdefault("required", sorted(schema["properties"]))
    return closed


def _object_schemas(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [schema for item in value for schema in _object_schemas(item)]
    if not isinstance(value, dict):
        return []
    here = [value] if value.get("type") == "object" and "properties" in value else []
    return here + [schema for item in value.values() for schema in _object_schemas(item)]
