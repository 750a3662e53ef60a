"""Partial answers: `fields=imageId,nsfw(score)` or `nsfw/score`, as in Google's APIs.

https://developers.google.com/workspace/drive/api/guides/performance#partial. A selection is checked
against the shape of its answer and compiled into a projection once, then remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from services.errors import InvalidArgument

Shape = Mapping[str, "Shape | None"]
"""The properties of an answer by name; None for one that has no properties of its own."""

_Tree = dict[str, "_Tree | None"]
"""The selected properties; None selects one as a whole."""

MAX_LENGTH: Final = 1_000
"""Characters of one `fields` parameter."""

MAX_REMEMBERED: Final = 256
"""Compiled projections of one answer: more than its clients' distinct selections (a guess)."""

_TOKEN: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*|[,/()]")


@dataclass(frozen=True, slots=True)
class Projection:
    """Picks the selected properties out of an answer, in the answer's own order.

    `key` is the selection in its canonical form: equal for all selections of the same properties.
    `paths` are the properties that it selects as a whole; none when that is all of them.
    """

    key: str
    apply: Callable[[Any], Any]
    paths: tuple[str, ...] = ()


WHOLE: Final = Projection("", lambda answer: answer)


class Selector:
    """Compiles selections of one kind of answer."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._compiled = lru_cache(maxsize=MAX_REMEMBERED)(self._compile)

    def select(self, fields: str | None) -> Projection:
        """The projection of a `fields` parameter, all without one. Raises InvalidArgument."""
        return WHOLE if fields is None else self._compiled(fields)

    def _compile(self, fields: str) -> Projection:
        if len(fields) > MAX_LENGTH:
            raise _invalid(
                f"the selection has {len(fields)} characters", limit=f"{MAX_LENGTH} characters"
            )
        tree = _Parser(fields).parse(self._shape)
        ordered = _ordered(tree, self._shape)
        return Projection(_key(ordered), _projection(ordered), tuple(_paths(ordered)))


class _Parser:
    """selection = item *("," item); item = name *("/" name) ["(" selection ")"]"""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def parse(self, shape: Shape) -> _Tree:
        tree: _Tree = {}
        self._selection(tree, shape, "")
        if self._peek():
            raise _invalid(f"unexpected {self._peek()!r}")
        return tree

    def _selection(self, tree: _Tree, shape: Shape, path: str) -> None:
        self._item(tree, shape, path)
        while self._peek() == ",":
            self._at += 1
            self._item(tree, shape, path)

    def _item(self, tree: _Tree, shape: Shape, path: str) -> None:
        name = self._name(shape, path)
        below, path = shape[name], f"{path}{name}/"
        if self._peek() not in ("/", "("):
            tree[name] = None
            return
        if below is None:
            raise _invalid(f"{path[:-1]!r} has no fields of its own")
        # One that is selected as a whole stays whole, whatever is selected of it beside that.
        chosen = tree.setdefault(name, {})
        inner: _Tree = {} if chosen is None else chosen
        self._at += 1
        if self._tokens[self._at - 1] == "/":
            self._item(inner, below, path)
            return
        self._selection(inner, below, path)
        if self._peek() != ")":
            raise _invalid("a parenthesis is not closed")
        self._at += 1

    def _name(self, shape: Shape, path: str) -> str:
        name = self._peek()
        if not name or not name[0].isalpha():
            raise _invalid(f"a name is expected{f', not {name!r}' if name else ' at the end'}")
        if name not in shape:
            raise _invalid(f"unknown field {path + name!r}; known are: {', '.join(shape)}")
        self._at += 1
        return name

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if not token:
            raise _invalid(f"unexpected {text[at]!r}")
        tokens.append(token[0])
        at = token.end()
    return tokens


def _ordered(tree: _Tree, shape: Shape) -> _Tree:
    """The same selection in the answer's own order."""
    ordered: _Tree = {}
    for name, below in shape.items():
        if name in tree:
            inner = tree[name]
            ordered[name] = None if inner is None or below is None else _ordered(inner, below)
    return ordered


def _key(tree: _Tree) -> str:
    return ",".join(
        name if below is None else f"{name}({_key(below)})" for name, below in tree.items()
    )


def _paths(tree: _Tree, above: str = "") -> Iterator[str]:
    for name, below in tree.items():
        if below is None:
            yield above + name
        else:
            yield from _paths(below, f"{above}{name}/")


def _projection(tree: _Tree) -> Callable[[Any], Any]:
    parts = [(name, None if below is None else _projection(below)) for name, below in tree.items()]

    def project(value: Any) -> Any:
        if isinstance(value, list):
            return [project(item) for item in value]
        if value is None:
            return None
        return {name: below(value[name]) if below else value[name] for name, below in parts}

    return project


def _invalid(detail: str, limit: str = "") -> InvalidArgument:
    return InvalidArgument(f"fields: {detail}", field="fields", limit=limit)
