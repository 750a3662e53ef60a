"""What runs a model, as the models see it.

    EngineError              a fault between a model and its engine; clients see an internal error
    ├── EngineInputError     tensors that the model does not take
    └── EngineOutputError    tensors that no result may be made of: NaN or infinite

None is a domain error: their messages name tensors and stay in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by tensor name."""

Inputs: TypeAlias = Tensors | Callable[[], Tensors]
"""The tensors, or what makes them: an engine calls it off the event loop, where it runs anyway."""


class EngineError(Exception):
    """Inference did not go as the model and the engine agreed."""


class EngineInputError(EngineError):
    """The inputs are not the ones that the model takes."""


class EngineOutputError(EngineError):
    """The outputs hold something that is no number."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's name, dtype and shape; None stands for a size that each call chooses."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def accepts(self, array: NDArray[Any]) -> bool:
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(
                size in (None, found) for size, found in zip(self.shape, array.shape, strict=True)
            )
        )

    def __str__(self) -> str:
        sizes = ", ".join("N" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} {self.dtype} [{sizes}]"


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What of an engine shapes the outputs: part of a model's version."""

    name: str
    version: str
    provider: str
    precision: str


class Engine(Protocol):
    """Runs one model. In this process or elsewhere, one by one or in batches: its own matter."""

    @property
    def description(self) -> EngineDescription:
        """Known before `load`."""
        ...

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What `infer` takes; known after `load`."""
        ...

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What `infer` returns; known after `load`."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model's file says of itself, by key; known after `load`."""
        ...

    async def load(self) -> None:
        """Make ready and warm up. Raises ModelFileError, ModelUnavailable."""
        ...

    async def infer(self, inputs: Inputs) -> Tensors:
        """Run the model on tensors, or on what a function makes; never on the event loop.

        Whatever that function raises is raised here. A caller that is cancelled leaves at once.
        Raises EngineError, and ModelUnavailable when the engine is not loaded or closed.
        """
        ...

    async def close(self) -> None:
        """Finish what runs, drop what waits, and free everything. Closing twice is allowed."""
        ...


def check_inputs(specs: Sequence[TensorSpec], inputs: Tensors) -> None:
    """Raise EngineInputError naming a tensor that is missing, unknown or of another form."""
    names = {spec.name for spec in specs}
    if unknown := sorted(inputs.keys() - names):
        raise EngineInputError(f"no input is called {unknown[0]!r}; there are: {sorted(names)}")
    for spec in specs:
        array = inputs.get(spec.name)
        if array is None:
            raise EngineInputError(f"input {spec} is missing")
        if not spec.accepts(array):
            raise EngineInputError(f"input {spec} cannot be {array.dtype} {list(array.shape)}")


def check_outputs(outputs: Tensors) -> None:
    """Raise EngineOutputError when a floating-point output holds NaN or an infinity."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise EngineOutputError(f"output {name!r} holds values that are not finite")
