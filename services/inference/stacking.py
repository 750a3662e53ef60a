"""Several requests as one: their tensors one below the other, and whose rows come out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from services.inference.engine import (
    EngineError,
    EngineOutputError,
    Inputs,
    Tensors,
    TensorSpec,
    check_inputs,
)
from services.serving import tracing


class Request:
    """One caller's inputs, and what it waits for: outputs, or None when it may go by itself."""

    __slots__ = ("answer", "batch", "inputs", "span")

    def __init__(self, inputs: Inputs, answer: asyncio.Future[Tensors | None]) -> None:
        self.inputs = inputs
        self.answer = answer
        self.batch: Batch | None = None
        self.span = tracing.current()

    def succeed(self, outputs: Tensors | None) -> None:
        if not self.answer.done():  # a caller that has left is told nothing
            self.answer.set_result(outputs)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Nobody(Exception):
    """Nothing of a batch can be run, or is waited for, any more."""


class Apart(EngineError):
    """Tensors that cannot be stacked."""


class Batch:
    """Requests that go together."""

    def __init__(self, requests: Sequence[Request], specs: Sequence[TensorSpec]) -> None:
        self.requests = requests
        self.prepared: list[tuple[Request, Tensors]] = []
        self.failed: list[tuple[Request, BaseException]] = []
        self.task: asyncio.Task[None] | None = None
        self._specs = specs

    def stacked(self) -> Tensors:
        """Prepare what is still waited for, and put it one below the other. Off the event loop.

        What fails is put aside. Raises Nobody when nothing is left, Apart when what is left
        cannot be one tensor.
        """
        for request in self.requests:
            if request.answer.done():
                continue
            try:
                tensors = request.inputs() if callable(request.inputs) else request.inputs
                check_inputs(self._specs, tensors)
            except BaseException as error:
                self.failed.append((request, error))
            else:
                request.inputs = tensors  # whoever runs it again need not prepare it again
                self.prepared.append((request, tensors))
        if not self.prepared:
            raise Nobody
        if len(self.prepared) == 1:
            return self.prepared[0][1]
        try:
            return {
                spec.name: np.concatenate([tensors[spec.name] for _, tensors in self.prepared])
                for spec in self._specs
            }
        except ValueError as error:
            raise Apart(str(error)) from error

    def divided(self, outputs: Tensors) -> list[tuple[Request, Tensors]]:
        """Each request's rows of what came out. Raises EngineOutputError when these are others."""
        first = self._specs[0].name
        ends = np.cumsum([len(tensors[first]) for _, tensors in self.prepared]).tolist()
        for name, array in outputs.items():
            if array.ndim == 0 or len(array) != ends[-1]:
                raise EngineOutputError(
                    f"output {name!r} is {list(array.shape)} for {ends[-1]} rows of input"
                )
        return [
            (request, {name: array[start:end] for name, array in outputs.items()})
            for (request, _), start, end in zip(self.prepared, [0, *ends[:-1]], ends, strict=True)
        ]
