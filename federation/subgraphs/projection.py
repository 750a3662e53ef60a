"""Values that are at hand, written at once: what a selection takes of them is compiled once.

graphql-core completes each field of each object on its own, some microseconds apiece, which for the
boxes of a hundred images is most of what a query costs. A value whose selected fields are all plain
attributes needs none of that. Whatever is not as plain as that, or turns out not to be of its type,
is completed by graphql-core, which gives the same data, or the error and its path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    SelectionSetNode,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter

MAX_PROJECTIONS: Final = 4_000
"""Compiled selections that each process keeps: a few for each document that is kept."""

DEFINITION: Final = GraphQLCoreConverter.DEFINITION_BACKREF
"""Under which strawberry leaves its own definition of a type or field in graphql-core's."""

MAX_INT: Final = 2**31 - 1

Projection = Callable[[Any], Any]


class Unplain(Exception):
    """A selection or a value that is graphql-core's to complete."""


class Projections:
    """Compiled selections, by the node whose selection it is and the type that it is made from."""

    def __init__(self, most: int = MAX_PROJECTIONS) -> None:
        self._most = most
        # The node is kept with its projection, so that no other one can have its id.
        self._known: dict[tuple[int, int], tuple[FieldNode, Projection | None]] = {}

    def of(self, kind: GraphQLObjectType, node: FieldNode) -> Projection | None:
        """What makes the data of a value of type `kind`; None when it is not plain."""
        key = (id(node), id(kind))
        if found := self._known.get(key):
            return found[1]
        try:
            projection = _object(kind, node.selection_set)
        except Unplain:
            projection = None
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = (node, projection)
        return projection


def projecting(projections: Projections) -> type[StrawberryGraphQLCoreExecutionContext]:
    """An executor that takes plain values from `projections`, which is for one schema."""

    class ProjectingExecutor(StrawberryGraphQLCoreExecutionContext):
        def complete_object_value(
            self,
            return_type: GraphQLObjectType,
            field_details_list: Any,
            info: Any,
            path: Any,
            result: Any,
            position_context: Any,
        ) -> Any:
            if len(field_details_list) == 1:
                (details,) = field_details_list
                # Nothing of a plain selection depends on variables, or comes later.
                if project := projections.of(return_type, details.node):
                    try:
                        return project(result)
                    except (Unplain, AttributeError):
                        pass
            return super().complete_object_value(
                return_type, field_details_list, info, path, result, position_context
            )

    return ProjectingExecutor


def _object(kind: GraphQLObjectType, selection: SelectionSetNode | None) -> Projection:
    """Raises Unplain for what is more than fields without arguments and directives."""
    definition = kind.extensions.get(DEFINITION)
    if kind.is_type_of or definition is None or selection is None:
        raise Unplain
    made_from = definition.origin
    parts: dict[str, tuple[str, Projection]] = {}
    for node in selection.selections:
        if not isinstance(node, FieldNode) or node.arguments or node.directives:
            raise Unplain
        key = node.alias.value if node.alias else node.name.value
        if key in parts:
            raise Unplain  # two selections that become one
        parts[key] = _field(kind, node)
    fields = tuple((key, attribute, make) for key, (attribute, make) in parts.items())

    def project(value: Any) -> dict[str, Any]:
        if type(value) is not made_from:
            raise Unplain
        return {key: make(getattr(value, attribute)) for key, attribute, make in fields}

    return project


def _field(kind: GraphQLObjectType, node: FieldNode) -> tuple[str, Projection]:
    """The attribute that a field is, and what makes its data. Raises Unplain for a resolver."""
    if node.name.value == "__typename":
        return "__class__", lambda _class: kind.name
    field = kind.fields.get(node.name.value)
    known = field and field.extensions.get(DEFINITION)
    if not field or not known or not known.is_basic_field or field.args:
        raise Unplain
    return known.python_name, _value(field.type, node.selection_set)


def _value(kind: GraphQLOutputType, selection: SelectionSetNode | None) -> Projection:
    if isinstance(kind, GraphQLNonNull):
        return _present(kind.of_type, selection)
    present = _present(kind, selection)

    def project(value: Any) -> Any:
        return None if value is None else present(value)

    return project


def _present(kind: GraphQLOutputType, selection: SelectionSetNode | None) -> Projection:
    """For what is not null: none of these takes None for a value."""
    if isinstance(kind, GraphQLList):
        item = _value(kind.of_type, selection)

        def project(value: Any) -> list[Any]:
            if type(value) is not list:
                raise Unplain
            return [item(each) for each in value]

        return project
    if isinstance(kind, GraphQLObjectType):
        return _object(kind, selection)
    if isinstance(kind, GraphQLEnumType):
        return _enum(kind)
    try:
        return _LEAVES[kind.name]  # type: ignore[union-attr]  # every kind that is left has one
    except KeyError:
        raise Unplain from None


def _enum(kind: GraphQLEnumType) -> Projection:
    def project(value: Any) -> Any:
        try:
            return kind.coerce_output_value(value)
        except GraphQLError:
            raise Unplain from None

    return project


def _int(value: Any) -> int:
    if type(value) is not int or not -MAX_INT - 1 <= value <= MAX_INT:
        raise Unplain
    return value


def _float(value: Any) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise Unplain
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unplain
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Unplain
    return value


_LEAVES: Final[dict[str, Projection]] = {
    GraphQLInt.name: _int,
    GraphQLFloat.name: _float,
    GraphQLString.name: _text,
    GraphQLID.name: _text,
    GraphQLBoolean.name: _boolean,
}
