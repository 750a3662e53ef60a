"""A policy file as it is written: its YAML, its keys and their types, and where each of them is.

What a policy means is in `policy.py`; here is only its form. PyYAML's safe constructors make the
scalars, pydantic checks the shape, and every complaint names file, rule and position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from services.errors import InvalidPolicy

MAX_FILE_BYTES: Final = 64_000
"""Bytes of one policy file."""

MAX_EXPRESSION_LENGTH: Final = 4_000
"""Characters of one expression."""

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = frozenset(_TAG + kind for kind in ("str", "int", "float", "bool", "null"))

Path = tuple[int | str, ...]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EXPRESSION_LENGTH)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,8})?$")]
Word = Annotated[str, StringConstraints(min_length=2, max_length=64, pattern=r"\w")]
WordsByLanguage = Annotated[
    dict[Language, Annotated[list[Word], Field(min_length=1, max_length=1_000)]],
    Field(min_length=1, max_length=50),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EvidenceDocument(_Strict):
    """What a rule shows when it holds: one thing, or each one that an expression finds.

    One thing has a label, and a score as an expression. With `each`, which gives a list of the
    contract's messages, score and place are the messages' own, and so is the label without `label`.
    """

    model: str
    label: Text | None = None
    score: Expression | None = None
    each: Expression | None = None


class RuleDocument(_Strict):
    """One rule. With `skip_when_empty`, the name of a parameter, it is none while that is `[]`."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    severity: Literal["low", "medium", "high", "critical"]
    message: Text
    when: Expression
    evidence: Annotated[list[EvidenceDocument], Field(max_length=16)] = []
    skip_when_empty: ParameterName | None = None


class PolicyDocument(_Strict):
    """One policy file. What a parameter may be is the expression language's to say."""

    description: Annotated[str, StringConstraints(max_length=1_000)] = ""
    parameters: Annotated[dict[ParameterName, Any], Field(max_length=100)] = {}
    words: Annotated[dict[ParameterName, WordsByLanguage], Field(max_length=20)] = {}
    rules: Annotated[list[RuleDocument], Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Source:
    """Where the parts of a policy file are, for those who have something to say about them."""

    file: str
    positions: dict[Path, yaml.Mark] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)

    def invalid(self, path: Path, message: str) -> InvalidPolicy:
        """The error that says `file:line:column: rule: what is wrong`."""
        while path and path not in self.positions:
            path = path[:-1]
        where = self.file
        if mark := self.positions.get(path):
            where += f":{mark.line + 1}:{mark.column + 1}"
        named = f"{where}: {subject}" if (subject := self._subject(path)) else where
        return InvalidPolicy(f"{named}: {message}", field=_written(path))

    def _subject(self, path: Path) -> str:
        """The rule that a path is in, by its code or, when that is unusable, its number."""
        match path:
            case ("rules", int(index), *rest):
                rule = f"rule {self.codes.get(index, f'number {index + 1}')}"
                return f"{rule}: {_written(tuple(rest))}" if rest else rule
            case _:
                return _written(path)


def read(text: bytes, file: str) -> tuple[PolicyDocument, Source]:
    """Read a policy file; `file` is what errors call it. Raises InvalidPolicy."""
    source = Source(file)
    if len(text) > MAX_FILE_BYTES:
        raise source.invalid((), f"has more than {MAX_FILE_BYTES} bytes")
    content = _content(text, source)
    if not isinstance(content, dict):
        raise source.invalid((), "a policy is a mapping with the key 'rules'")
    for index, rule in enumerate(_list(content.get("rules"))):
        if isinstance(rule, dict) and isinstance(code := rule.get("code"), str):
            source.codes[index] = code
    try:
        return PolicyDocument.model_validate(content), source
    except ValidationError as error:
        raise _first(error.errors(include_url=False), source) from None


def _content(text: bytes, source: Source) -> Any:
    """The file's content in plain Python, noting where everything is."""
    loader: yaml.SafeLoader | None = None
    try:
        loader = _Loader(text.decode())
        node = loader.get_single_node()
        return None if node is None else _plain(loader, node, (), source)
    except UnicodeDecodeError:
        raise source.invalid((), "is not UTF-8 text") from None
    except RecursionError:
        raise source.invalid((), "is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        if mark := error.problem_mark or error.context_mark:
            source.positions[()] = mark
        raise source.invalid((), f"is not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise source.invalid((), f"is not valid YAML: {error}".splitlines()[0]) from None
    finally:
        if loader:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """Refuses aliases: a few lines of them stand for gigabytes, and policies need none."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)


def _plain(loader: yaml.SafeLoader, node: yaml.Node, path: Path, source: Source) -> Any:
    source.positions[path] = node.start_mark
    match node:
        case yaml.MappingNode(tag=tag) if tag == _TAG + "map":
            return dict(_items(loader, node, path, source))
        case yaml.SequenceNode(tag=tag) if tag == _TAG + "seq":
            return [
                _plain(loader, item, (*path, index), source)
                for index, item in enumerate(node.value)
            ]
        case yaml.ScalarNode(tag=tag) if tag in _SCALARS:
            try:
                return loader.construct_object(node)
            except ValueError as error:
                raise source.invalid(path, str(error)) from None
    raise source.invalid(path, f"{node.tag} is not a type of this language; quote it if it is text")


def _items(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path, source: Source
) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key = _plain(loader, key_node, (*path, "?"), source)
        if not isinstance(key, str):
            raise source.invalid((*path, "?"), f"the key {key!r} is not text")
        if key in seen:
            raise source.invalid((*path, "?"), f"the key {key!r} is there twice")
        seen.add(key)
        yield key, _plain(loader, value_node, (*path, key), source)
        source.positions[(*path, key, "?")] = key_node.start_mark


def _first(problems: list[ErrorDetails], source: Source) -> InvalidPolicy:
    """The first thing that is wrong, in our words where pydantic's are for programmers."""
    problem = problems[0]
    path, kind = problem["loc"], problem["type"]
    match kind:
        case "extra_forbidden":
            return source.invalid((*path, "?"), "unknown key")
        case "missing":
            return source.invalid(path[:-1], f"the key {path[-1]!r} is missing")
        case "string_pattern_mismatch":
            return source.invalid(path, f"{problem['input']!r} does not match {_pattern(problem)}")
        case "string_type":
            return source.invalid(path, f"{problem['input']!r} is not text; quote it if it is")
        case "model_type":
            return source.invalid(path, f"{problem['input']!r} is not a mapping")
        case _:
            return source.invalid(path, problem["msg"])


def _pattern(problem: ErrorDetails) -> str:
    return str(problem.get("ctx", {}).get("pattern"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _written(path: Path) -> str:
    """A path as a person would write it: `rules[2].evidence[0].score`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "?":
            text += f".{part}" if text else part
    return text
