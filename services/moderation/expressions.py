"""Conditions and scores of a policy, in CEL, typed by the contract.

The variables of an expression are the models' own result messages under the models' names, the
policy's parameters under `parameters.`, and what is found in text (`reading.py`): a field that the
contract does not have is found when the policy is loaded. https://cel.dev, through cel-cpp's Python
binding. CEL has no loops and no side effects; the library ends an evaluation after 10,000 steps of
its comprehensions, and refuses expressions that are nested deeper than 32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cel_expr_python import cel
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from services.moderation.reading import MODEL, Reading
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

ParameterValue = float | int | str | list[float] | list[int] | list[str]

# Without `dyn`, which turns the type checker off.
_CONFIG: Final = "stdlib:\n  exclude_functions:\n    - name: dyn\n"

_POOL: Final = descriptor_pool.Default()

# How the library writes the type of a list.
_LIST: Final = re.compile(r"LIST<(.*)>")

_PROBLEM: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")
# What the library adds for programmers: namespaces, status names, every token it would have taken.
_NOISE: Final = re.compile(r"^Syntax error: | expecting \{.*| \(in container ''\)| ?\[[A-Z_]+\]$")

_TYPES: Final[dict[type, Any]] = {
    float: cel.Type.DOUBLE,
    int: cel.Type.INT,
    str: cel.Type.STRING,
}


class ExpressionError(ValueError):
    """An expression or a parameter that cannot be used; the message says where and why."""


class EvaluationError(Exception):
    """An expression that has no value for these answers, as an index out of range."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What the variables are for one image."""

    variables: Any


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled expression that is true or false, and the models that it reads."""

    text: str
    models: frozenset[str]
    compiled: Any

    def holds(self, activation: Activation) -> bool:
        """Whether it is true. Raises EvaluationError."""
        return bool(_value(self.compiled, activation, cel.Type.BOOL))


@dataclass(frozen=True, slots=True)
class Findings:
    """A compiled expression that is a list of messages of one kind, and the models that it reads.

    `message` is their type.
    """

    text: str
    models: frozenset[str]
    compiled: Any
    message: Descriptor

    def found(self, activation: Activation) -> list[Message]:
        """The messages. Raises EvaluationError."""
        value = _evaluated(self.compiled, activation)
        if value.type() == cel.Type.ERROR:
            raise EvaluationError(str(value.value()))
        found: list[Message] = value.plain_value()
        return found


@dataclass(frozen=True, slots=True)
class Score:
    """A compiled expression that is a number, and the models that it reads."""

    text: str
    models: frozenset[str]
    compiled: Any

    def value(self, activation: Activation) -> float:
        """The number. Raises EvaluationError, also when it is not finite."""
        value = float(_value(self.compiled, activation, cel.Type.DOUBLE))
        if not math.isfinite(value):
            raise EvaluationError(f"{value} is no score")
        return value


class Language:
    """The expressions of one policy: its variables, and how they are compiled and bound."""

    def __init__(
        self,
        models: Mapping[str, type[Message]],
        parameters: Mapping[str, ParameterValue],
        reading: Reading | None = None,
    ) -> None:
        """`models` are the result messages by model name; `reading` is what is found in text.

        Raises ExpressionError.
        """
        self._models = {
            name: cel.Type(result.DESCRIPTOR.full_name) for name, result in models.items()
        }
        self._reading = reading if models.get(MODEL) is OcrResult else None
        self._read: set[str] = set()
        self._found = {
            name: cel.Type.List(cel.Type(message.DESCRIPTOR.full_name))
            for name, message in (self._reading.variables if self._reading else {}).items()
        }
        self._parameters = {f"parameters.{name}": value for name, value in parameters.items()}
        types = {name: parameter_type(value) for name, value in self._parameters.items()}
        self._env = _environment(self._models | self._found | types)
        self._without = {
            name: _environment(
                types | _without(self._models, name) | ({} if name == MODEL else self._found)
            )
            for name in self._models
        }
        self._without |= {
            name: _environment(types | self._models | _without(self._found, name))
            for name in self._found
        }

    @property
    def reads_text(self) -> bool:
        """Whether anything that was compiled reads what is found in text."""
        return bool(self._read)

    def condition(self, text: str) -> Condition:
        """Compile an expression that must be true or false. Raises ExpressionError."""
        compiled = self._compile(text, cel.Type.BOOL)
        return Condition(text, self._models_of(text), compiled)

    def score(self, text: str) -> Score:
        """Compile an expression that must be a floating-point number. Raises ExpressionError."""
        compiled = self._compile(text, cel.Type.DOUBLE)
        return Score(text, self._models_of(text), compiled)

    def findings(self, text: str) -> Findings:
        """Compile an expression that must be a list of messages. Raises ExpressionError."""
        compiled = self._compile(text)
        if message := _item(compiled.return_type().name()):
            return Findings(text, self._models_of(text), compiled, message)
        raise ExpressionError(
            f"at 1:1: is of type {_written(compiled.return_type())}, must be a list of messages"
        )

    def bind(self, results: Mapping[str, Message]) -> Activation:
        """Bind the variables to the results that there are, by model name."""
        found: Mapping[str, Any] = {}
        if self._reading and self._read and (result := results.get(MODEL)):
            assert isinstance(result, OcrResult)
            found = self._reading.of(result, self._read)
        return Activation(self._env.Activation({**self._parameters, **results, **found}))

    def _compile(self, text: str, wanted: Any = None) -> Any:
        try:
            compiled = self._env.compile(text)
        except RuntimeError as error:
            raise ExpressionError(self._complaint(str(error))) from None
        if wanted is not None and (found := compiled.return_type()) != wanted:
            raise ExpressionError(
                f"at 1:1: is of type {_written(found)}, must be {_written(wanted)}"
            )
        # A dot may have blanks around it; the last name is there in any case.
        named = (name for name in self._found if name.rpartition(".")[2] in text)
        self._read |= {name for name in named if self._reads(text, name)}
        return compiled

    def _models_of(self, text: str) -> frozenset[str]:
        return frozenset(name for name in self._models if self._reads(text, name))

    def _reads(self, text: str, name: str) -> bool:
        """Whether an expression that compiles needs a variable: without it, it does not."""
        try:
            self._without[name].compile(text)
        except RuntimeError:
            return True
        return False

    def _complaint(self, report: str) -> str:
        """The first of the compiler's complaints: `at line:column: what is wrong`."""
        if found := _PROBLEM.search(report):
            line, column, message = found.groups()
        else:
            line, column, message = "1", "1", report.split(": ", 1)[-1].split("\n")[0]
        message = _NOISE.sub("", _NOISE.sub("", message))
        if message.startswith("undeclared reference"):
            message += f"; there are: {_listed([*self._models, *self._found, *self._parameters])}"
        elif "int" in message and "double" in message:
            message += "; CEL does not mix them, write 1.0 for 1"
        return f"at {line}:{column}: {message}"


def parameter_type(value: object) -> Any:
    """The CEL type of a parameter. Raises ExpressionError for what none has."""
    if not isinstance(value, list):
        return _scalar_type(value)
    types = {kind.name(): kind for kind in map(_scalar_type, value)}
    if len(types) > 1:
        raise ExpressionError("the items of a list must be of one type")
    return cel.Type.List(next(iter(types.values()), cel.Type.DYN))


def _item(list_type: str) -> Descriptor | None:
    """The message that a type is a list of; None when it is none."""
    listed = _LIST.fullmatch(list_type)
    try:
        return _POOL.FindMessageTypeByName(listed[1]) if listed else None
    except KeyError:
        return None


def _written(kind: Any) -> str:
    """A type as CEL writes it: messages as the contract does, all else in small letters."""
    name: str = kind.name()
    return re.sub(r"\b[A-Z]+\b", lambda word: word[0].lower(), name)


def _scalar_type(value: object) -> Any:
    if type(value) not in _TYPES:
        raise ExpressionError(f"{value!r} is neither a number nor text nor a list of them")
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError(f"{value} is not a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ExpressionError(f"{value} does not fit 64 bits")
    return _TYPES[type(value)]


def _environment(variables: Mapping[str, Any]) -> Any:
    return cel.NewEnv(
        descriptor_pool=_POOL,
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        variables=variables,
    )


def _without(variables: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in variables.items() if key != name}


def _evaluated(compiled: Any, activation: Activation) -> Any:
    try:
        return compiled.eval(activation.variables)
    except RuntimeError as error:  # the budget of iterations is spent
        raise EvaluationError(str(error)) from error


def _value(compiled: Any, activation: Activation, wanted: Any) -> Any:
    value = _evaluated(compiled, activation)
    if value.type() != wanted:  # an error is a value of its own type
        raise EvaluationError(str(value.value()))
    return value.value()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
