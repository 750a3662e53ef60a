"""What goes wrong, as GraphQL errors: the domain's code, and nothing internal.

    VisionmeshError      `message` and `extensions.code` are its own, with `field` and `limit`
    syntax               GRAPHQL_PARSE_FAILED
    not of the schema    GRAPHQL_VALIDATION_FAILED
    a variable's value   BAD_USER_INPUT
    anything else        INTERNAL, logged, as `internal error`

The codes of what is no domain error are those that GraphQL clients know from Apollo's server:
https://www.apollographql.com/docs/apollo-server/data/errors
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import structlog
from graphql import GraphQLError, GraphQLSyntaxError

from services import errors
from services.errors import VisionmeshError
from services.serving import tracing

PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT: Final = "BAD_USER_INPUT"

Json = dict[str, Any]

_log = structlog.get_logger()


def formatted(found: Iterable[GraphQLError]) -> list[Json]:
    """The errors of a response, as clients may see them."""
    return [_formatted(error) for error in found]


def refused(error: VisionmeshError) -> Json:
    """The error of a request that was not executed at all."""
    return {"message": error.message, "extensions": _extensions(error)}


def _formatted(error: GraphQLError) -> Json:
    written: Json = {"message": error.message}
    if error.locations:
        written["locations"] = [
            {"line": place.line, "column": place.column} for place in error.locations
        ]
    if error.path:
        written["path"] = error.path
    cause = _cause(error)
    if cause is None:
        code = PARSE_FAILED if isinstance(error, GraphQLSyntaxError) else VALIDATION_FAILED
        if not isinstance(error, GraphQLSyntaxError) and error.nodes and _is_variable(error):
            code = BAD_USER_INPUT
        return written | {"extensions": {"code": code, "traceId": tracing.trace_id()}}
    if not isinstance(cause, VisionmeshError) or isinstance(cause, errors.Internal):
        _log.error("unexpected error", path=error.path, exc_info=cause)
        cause = errors.Internal("internal error")
    return written | {"message": cause.message, "extensions": _extensions(cause)}


def _cause(error: GraphQLError) -> BaseException | None:
    """What a resolver raised; None when the document itself is at fault."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _is_variable(error: GraphQLError) -> bool:
    return any(node.kind == "variable_definition" for node in error.nodes or ())


def _extensions(error: VisionmeshError) -> Json:
    known = {"field": error.field, "limit": error.limit}
    return {
        "code": error.code,
        **{name: value for name, value in known.items() if value},
        "traceId": tracing.trace_id(),
    }
