"""The subgraphs of the mesh: one row each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from graphql import GraphQLError
from strawberry import Info, federation
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.federation.schema import FederationAny
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from federation.subgraphs import detection, images, logo, moderation, nsfw, ocr
from federation.subgraphs.ids import MAX_ENTITIES, check_count
from federation.subgraphs.plans import Plans
from federation.subgraphs.projection import Projections, projecting

FEDERATION_VERSION: Final = "2.9"

CACHED_DOCUMENTS: Final = 1000
"""Parsed and validated documents that each process keeps. The gateway's plans come to a few."""


class Schema(federation.Schema):
    """A subgraph's schema, of which one request asks about so many images and no more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plans = Plans(CACHED_DOCUMENTS)

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """By its plan, where a document has one and nothing is wrong; else as strawberry does."""
        if plan := self._plans.of(self._schema, query or "", operation_name):
            with suppress(Exception):  # graphql-core says what is wrong, and where
                data = await plan.execute(variable_values or {}, context_value)
                return ExecutionResult(data=data, errors=None)
        return await super().execute(
            query,
            variable_values,
            context_value,
            root_value,
            operation_name,
            allowed_operation_types,
            operation_extensions,
        )

    def entities_resolver(
        self, info: Info, representations: list[FederationAny]
    ) -> list[FederationAny]:
        check_count(representations, "representations", MAX_ENTITIES)
        return super().entities_resolver(info, representations)

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Says nothing: what goes wrong is logged where it is translated."""


def _schema(
    types: Iterable[type], query: type | None = None, mutation: type | None = None
) -> Schema:
    return Schema(
        query=query,
        mutation=mutation,
        types=types,
        federation_version=FEDERATION_VERSION,
        extensions=[
            lambda: ParserCache(maxsize=CACHED_DOCUMENTS),
            lambda: ValidationCache(maxsize=CACHED_DOCUMENTS),
        ],
        execution_context_class=projecting(Projections()),
    )


SUBGRAPHS: Final[dict[str, Callable[[], Schema]]] = {
    "images": lambda: _schema([images.Image], images.Query, images.Mutation),
    "nsfw": lambda: _schema([nsfw.NsfwImage]),
    "detection": lambda: _schema([detection.DetectionImage]),
    "ocr": lambda: _schema([ocr.OcrImage]),
    "logo": lambda: _schema([logo.LogoImage], logo.Query, logo.Mutation),
    "moderation": lambda: _schema([moderation.ModerationImage]),
}
"""How each subgraph's schema is made, by its name."""


def sdl(name: str) -> str:
    """A subgraph's schema in the schema definition language, as the supergraph is composed of."""
    schema: Any = SUBGRAPHS[name]()
    return f"{schema.as_str().strip()}\n"
