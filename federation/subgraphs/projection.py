"""Values that are at hand, written at once: what a selection takes of them is compiled once.

graphql-core completes each field of each object on its own, some microseconds apiece, which for the
boxes of a hundred images is most of what a query costs. A value whose selected fields are
attributes, or made of it alone by a function, needs none of that. Whatever is not as plain as that,
turns out not to be of its type, or fails, is completed by graphql-core, which gives the same data,
or the error and its path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any, Final

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    ListValueNode,
    ObjectValueNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

MAX_PROJECTIONS: Final = 4_000
"""Compiled selections that each process keeps: a few for each document that is kept."""

DEFINITION: Final = GraphQLCoreConverter.DEFINITION_BACKREF
"""Under which strawberry leaves its own definition of a type or field in graphql-core's."""

MAX_INT: Final = 2**31 - 1

_SCALARS: Final = frozenset((GraphQLInt, GraphQLFloat, GraphQLString, GraphQLID, GraphQLBoolean))
"""Kinds of arguments that strawberry hands on as they are."""

Projection = Callable[[Any], Any]
"""Makes a value's data."""

Take = Callable[[Any], Any]
"""Takes a field's value from its object."""


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
            projection = object_projection(kind, node.selection_set)
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
                    with suppress(Exception):
                        return project(result)
            return super().complete_object_value(
                return_type, field_details_list, info, path, result, position_context
            )

    return ProjectingExecutor


def object_projection(kind: GraphQLObjectType, selection: SelectionSetNode | None) -> Projection:
    """What makes the data of an object. Raises Unplain, and the projection may raise anything."""
    made_from = origin(kind)
    if selection is None:
        raise Unplain
    parts: dict[str, tuple[Take, Projection]] = {}
    for node in selection.selections:
        key = response_key(node)
        if key in parts:
            raise Unplain  # two selections that become one
        parts[key] = field_projection(kind, node)
    fields = tuple((key, take, make) for key, (take, make) in parts.items())

    def project(value: Any) -> dict[str, Any]:
        if type(value) is not made_from:
            raise Unplain
        return {key: make(take(value)) for key, take, make in fields}

    return project


def origin(kind: GraphQLObjectType) -> type:
    """The class whose instances are values of a type. Raises Unplain when others are, too."""
    definition = kind.extensions.get(DEFINITION)
    if kind.is_type_of or definition is None:
        raise Unplain
    made_from: type = definition.origin
    return made_from


def response_key(node: SelectionNode) -> str:
    """Under which name a field is answered. Raises Unplain for fragments, and with directives."""
    if not isinstance(node, FieldNode) or node.directives:
        raise Unplain
    return node.alias.value if node.alias else node.name.value


def field_projection(kind: GraphQLObjectType, node: SelectionNode) -> tuple[Take, Projection]:
    """What takes a field's value from its object, and what makes data of it.

    Raises Unplain for what needs more than the object.
    """
    assert isinstance(node, FieldNode)
    if node.name.value == "__typename":
        return type, lambda _class: kind.name
    field, known = known_field(kind, node)
    if known.is_basic_field:
        return attrgetter(known.python_name), value_projection(field.type, node.selection_set)
    resolve, takes_info = resolver(known)
    if known.is_async or takes_info or asks_variables(node):
        raise Unplain
    given = arguments(field, known, node, None)
    take = partial(resolve, **given) if given else resolve
    return take, value_projection(field.type, node.selection_set)


def known_field(kind: GraphQLObjectType, node: FieldNode) -> tuple[GraphQLField, StrawberryField]:
    """A field, and strawberry's own definition of it. Raises Unplain when more than it is run."""
    field = kind.fields.get(node.name.value)
    known = field and field.extensions.get(DEFINITION)
    if field is None or not isinstance(known, StrawberryField):
        raise Unplain
    if known.extensions or known.permission_classes:
        raise Unplain
    return field, known


def resolver(known: StrawberryField) -> tuple[Callable[..., Any], bool]:
    """The function that gives a field's value, and whether it takes `info`."""
    found = known.base_resolver
    if found is None:
        raise Unplain
    function: Any = found.wrapped_func
    return function, found.info_parameter is not None


def asks_variables(node: FieldNode) -> bool:
    """Whether an argument of a field is, or has in it, a variable."""
    waiting = [argument.value for argument in node.arguments or ()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, VariableNode):
            return True
        if isinstance(value, ListValueNode):
            waiting += value.values
        elif isinstance(value, ObjectValueNode):
            waiting += [field.value for field in value.fields]
    return False


def arguments(
    field: GraphQLField,
    known: StrawberryField,
    node: FieldNode,
    variables: VariableValues | None,
) -> dict[str, Any]:
    """What a field's resolver is given, by its own names. Raises Unplain for input objects."""
    if not field.args:
        return {}
    for argument in field.args.values():
        if get_named_type(argument.type) not in _SCALARS:
            raise Unplain
    try:
        given = get_argument_values(field, node, variables)
    except GraphQLError:
        raise Unplain from None
    names = {to_camel_case(each.python_name): each.python_name for each in known.arguments}
    try:
        return {names[name]: value for name, value in given.items()}
    except KeyError:
        raise Unplain from None  # a name of its own


def value_projection(kind: GraphQLOutputType, selection: SelectionSetNode | None) -> Projection:
    if isinstance(kind, GraphQLNonNull):
        return _present(kind.of_type, selection)
    present = _present(kind, selection)

    def project(value: Any) -> Any:
        return None if value is None else present(value)

    return project


def _present(kind: GraphQLOutputType, selection: SelectionSetNode | None) -> Projection:
    """For what is not null: none of these takes None for a value."""
    if isinstance(kind, GraphQLList):
        item = value_projection(kind.of_type, selection)

        def project(value: Any) -> list[Any]:
            if type(value) is not list:
                raise Unplain
            return [item(each) for each in value]

        return project
    if isinstance(kind, GraphQLObjectType):
        return object_projection(kind, selection)
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
