"""An engine without a model, for tests of what stands on engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.errors import ModelUnavailable
from services.inference.engine import (
    EngineDescription,
    Inputs,
    Tensors,
    TensorSpec,
    check_inputs,
    check_outputs,
)


class FakeEngine:
    """Answers with what `answer` makes of the inputs, and keeps every promise of `Engine`.

    `calls` counts the inferences that reached `answer`. `held`, when given, is awaited with the
    inputs before: a call that it keeps waiting is one behind a slow model.
    """

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        answer: Callable[[Tensors], Tensors],
        held: Callable[[Tensors], Awaitable[None]] | None = None,
        precision: str = "fp32",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.calls = 0
        self._precision = precision
        self._metadata = dict(metadata or {})
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._answer = answer
        self._held = held
        self._loaded = False

    @property
    def description(self) -> EngineDescription:
        return EngineDescription("fake", "1", "none", self._precision)

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._metadata

    async def load(self) -> None:
        self._loaded = True

    async def infer(self, inputs: Inputs) -> Tensors:
        if not self._loaded:
            raise ModelUnavailable("the model is not loaded")
        tensors = await asyncio.to_thread(inputs) if callable(inputs) else inputs
        check_inputs(self._inputs, tensors)
        if self._held is not None:
            await self._held(tensors)
        self.calls += 1
        outputs = self._answer(tensors)
        check_outputs(outputs)
        return outputs

    async def close(self) -> None:
        self._loaded = False
