"""Queries about images that are executed by a plan, compiled once for each document.

What the gateway asks of a subgraph is nearly always the same few documents: `_entities`, `image` or
`images`, and some fields of these images. graphql-core and strawberry walk through such a document
anew each time, which costs more than what is in it. A plan calls the same resolvers with the same
arguments, and projects what they give (`projection`).

A document that is more than that has no plan, and where anything fails or is not of its type the
plan gives up: graphql-core executes the document then, with the same context, whose loaders have
their answers already. So data, errors and paths are always graphql-core's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_nullable_type,
    parse,
    validate,
)
from graphql.execution.values import VariableValues, get_variable_values

from federation.subgraphs.ids import MAX_ENTITIES
from federation.subgraphs.projection import (
    Projection,
    Unplain,
    arguments,
    asks_variables,
    field_projection,
    known_field,
    origin,
    resolver,
    response_key,
    value_projection,
)

ENTITY: Final = "Image"
"""What plans are about. Each of its fields asks through a loader, so that asking twice costs
nothing."""

ENTITIES: Final = "_entities"

Given = Callable[[VariableValues | None], dict[str, Any]]
"""A field's arguments, by a request's variables."""


@dataclass(frozen=True)
class Info:
    """As much of strawberry's `Info` as resolvers of such fields use."""

    context: Any


class Field:
    """A field of a query, or of an image, whose resolver has to be asked."""

    def __init__(self, kind: GraphQLObjectType, node: FieldNode) -> None:
        """Raises Unplain."""
        field, known = known_field(kind, node)
        self._resolve, self._takes_info = resolver(known)
        self._is_async = known.is_async
        self.type: GraphQLOutputType = field.type
        if asks_variables(node):
            self._given: Given = lambda variables: arguments(field, known, node, variables)
        else:
            constant = arguments(field, known, node, None)
            self._given = lambda _variables: constant

    def calling(
        self, variables: VariableValues | None, info: Info
    ) -> Callable[[Any], Awaitable[Any]]:
        """What asks for the field of one object after the other, with one request's variables."""
        resolve, given = self._resolve, self._given(variables)
        if self._takes_info:
            given = {**given, "info": info}
        if self._is_async:
            return lambda source: resolve(source, **given)

        async def call(source: Any) -> Any:
            return resolve(source, **given)

        return call


class Image:
    """What is asked about each image."""

    def __init__(self, kind: GraphQLObjectType, selection: SelectionSetNode) -> None:
        """Raises Unplain."""
        self._made_from = origin(kind)
        self._plain: dict[str, tuple[Callable[[Any], Any], Projection]] = {}
        self._asked: dict[str, tuple[Field, Projection]] = {}
        self._keys: dict[str, None] = {}
        for node in _fields(selection):
            key = response_key(node)
            if key in self._keys:
                raise Unplain  # two selections that become one
            self._keys[key] = None
            try:
                self._plain[key] = field_projection(kind, node)
            except Unplain:
                field = Field(kind, node)
                self._asked[key] = field, value_projection(field.type, node.selection_set)

    async def data(
        self, images: list[Any], variables: VariableValues | None, info: Info
    ) -> list[dict[str, Any]]:
        """Raises Unplain, or anything that a resolver raises."""
        calls = [
            (key, field.calling(variables, info), make)
            for key, (field, make) in self._asked.items()
        ]
        if any(type(image) is not self._made_from for image in images):
            raise Unplain
        made = [dict.fromkeys(self._keys) for _ in images]
        for image, data in zip(images, made, strict=True):
            for key, (take, make) in self._plain.items():
                data[key] = make(take(image))
        # All at once, so that what they ask of one service is one call.
        values = await asyncio.gather(
            *(call(image) for image in images for _, call, _ in calls), return_exceptions=True
        )
        found = iter(values)
        for data in made:
            for key, _, make in calls:
                value = next(found)
                if isinstance(value, BaseException):
                    raise Unplain
                data[key] = make(value)
        return made


class Plan:
    """One document's."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        """Raises Unplain when the document has to be executed by graphql-core."""
        self._schema = schema
        operation, *others = document.definitions
        if others or not isinstance(operation, OperationDefinitionNode):
            raise Unplain
        if operation.operation is not OperationType.QUERY or operation.directives:
            raise Unplain
        self.name = operation.name.value if operation.name else None
        node, *more = operation.selection_set.selections
        if more or not isinstance(node, FieldNode) or validate(schema, document):
            raise Unplain
        self._key = response_key(node)
        self._definitions = list(operation.variable_definitions or ())
        kind = schema.type_map.get(ENTITY)
        if not isinstance(kind, GraphQLObjectType) or node.selection_set is None:
            raise Unplain
        self._image = Image(kind, node.selection_set)
        self._root: Field | str
        if node.name.value == ENTITIES:
            (argument,) = node.arguments or ()
            if not isinstance(argument.value, VariableNode):
                raise Unplain
            self._root = argument.value.name.value
            self._is_list = True
            entity: Any = origin(kind)
            self._reference: Callable[[str], Any] = entity.resolve_reference
            self._definitions = [
                each for each in self._definitions if each.variable.name.value != self._root
            ]
            return
        assert schema.query_type
        self._root = Field(schema.query_type, node)
        item = get_nullable_type(self._root.type)
        self._is_list = isinstance(item, GraphQLList)
        if isinstance(item, GraphQLList):
            item = get_nullable_type(item.of_type)
        if item is not kind:
            raise Unplain

    async def execute(self, given: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """The data. Raises Unplain, or anything that a resolver raises."""
        variables = None
        if self._definitions:
            coerced = get_variable_values(self._schema, self._definitions, dict(given))
            if isinstance(coerced, list):
                raise Unplain
            variables = coerced
        info = Info(context)
        if isinstance(self._root, Field):
            found = await self._root.calling(variables, info)(None)
            images = found if self._is_list else [found]
        else:
            images = [self._referred(each) for each in _entities(given.get(self._root))]
        if type(images) is not list:
            raise Unplain
        data = await self._image.data(images, variables, info)
        return {self._key: data if self._is_list else data[0]}

    def _referred(self, entity: Any) -> Any:
        if type(entity) is not dict or entity.keys() != {"__typename", "id"}:
            raise Unplain
        if entity["__typename"] != ENTITY:
            raise Unplain
        return self._reference(entity["id"])


class Plans:
    """The plans of one schema, by the text of a document."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, Plan | None] = {}

    def of(self, schema: GraphQLSchema, text: str, operation_name: str | None) -> Plan | None:
        """None when there is none for a document, or none for that operation of it."""
        try:
            plan = self._known[text]
        except KeyError:
            plan = _planned(schema, text)
            if len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[text] = plan
        return plan if plan and operation_name in (None, "", plan.name) else None


def _planned(schema: GraphQLSchema, text: str) -> Plan | None:
    try:
        return Plan(schema, parse(text))
    except Exception:  # graphql-core says what is wrong with it
        return None


def _fields(selection: SelectionSetNode) -> Iterator[FieldNode]:
    """The fields that are selected of an image, also those in fragments on its type."""
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node
            continue
        if not isinstance(node, InlineFragmentNode) or node.directives:
            raise Unplain
        if node.type_condition and node.type_condition.name.value != ENTITY:
            raise Unplain
        yield from _fields(node.selection_set)


def _entities(given: Any) -> list[Any]:
    if type(given) is not list or len(given) > MAX_ENTITIES:
        raise Unplain
    return given
