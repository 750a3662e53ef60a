"""Micro-batches: several pictures in one inference, and who is next when there are too many.

The one place where batches are made (docs/decisions/batching.md). What is queued when the engine
has room goes together; a lone request goes straight on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final

import numpy as np

from services.errors import ModelFileError, ModelUnavailable
from services.inference.engine import (
    Engine,
    EngineDescription,
    EngineError,
    Inputs,
    Tensors,
    TensorSpec,
)
from services.inference.metrics import ModelMetrics
from services.inference.stacking import Batch, Nobody, Request
from services.inference.turns import MAX_WAITING, Turns
from services.serving import tracing
from services.serving.attributes import BATCH_SIZE

_SMOOTHING: Final = 0.1
"""How much the latest inference counts in what one is expected to take."""


class BatchingEngine:
    """An engine before which requests wait, and which is given several of them at once.

    At most `concurrency` inferences are asked of the engine at a time, each for up to `size`
    requests; the others wait, callers in turn, up to `max_waiting` of them. What the engine has
    room for goes at once, or with `wait_s` not before so many seconds or `size` requests have come.
    Each request has the answer that it has alone: what fails in a batch is run again by itself.

    With a `size` above 1, rows of the first axis of every tensor must not know of each other. Where
    that axis is not free, requests go one by one.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        concurrency: int,
        size: int = 1,
        wait_s: float = 0.0,
        max_waiting: int = MAX_WAITING,
        warm_up: Sequence[Tensors] = (),
        metrics: ModelMetrics | None = None,
    ) -> None:
        """`warm_up` holds inputs of one request of each shape: `load` runs full batches of them.
        `metrics` are told how many requests wait."""
        self._engine = engine
        self._warm_up = warm_up
        self._concurrency = concurrency
        self._size = size
        self._wait_s = wait_s if size > 1 else 0.0
        metrics = metrics or ModelMetrics("")
        self._waiting: Turns[Request] = Turns(max_waiting, self._until_done_s, metrics.waited)
        metrics.queue("turns", self._waiting.__len__, max_waiting)
        self._running = 0
        self._due_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._seconds_each = 0.0
        self._closed = False

    @property
    def description(self) -> EngineDescription:
        return self._engine.description

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._engine.inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._engine.outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._engine.metadata

    async def load(self) -> None:
        """See `Engine.load`."""
        await self._engine.load()
        specs = (*self.inputs, *self.outputs)
        if any(not spec.shape or spec.shape[0] is not None for spec in specs):
            self._size, self._wait_s = 1, 0.0
        for tensors in self._warm_up if self._size > 1 else ():
            full = {name: np.repeat(array, self._size, axis=0) for name, array in tensors.items()}
            try:
                await asyncio.gather(*(self._engine.infer(full) for _ in range(self._concurrency)))
            except EngineError as error:
                raise ModelFileError(f"no batch of {self._size} can be run: {error}") from error

    async def infer(self, inputs: Inputs) -> Tensors:
        """See `Engine.infer`. Raises Overloaded, at once, when too many wait."""
        free = self._running < self._concurrency and not len(self._waiting) and not self._wait_s
        if free or self._closed:
            self._running += 1
        else:
            outputs = await self._queued(inputs)
            if outputs is not None:
                return outputs
        return await self._straight(inputs)

    async def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
        self._disarm()
        while len(self._waiting):
            self._waiting.take().fail(_closed())
        await self._engine.close()
        if self._batches:
            await asyncio.wait(self._batches)

    async def _straight(self, inputs: Inputs) -> Tensors:
        """As if nothing stood between: no task, no future. Of one for whom there is room."""
        began = monotonic()
        try:
            return await self._engine.infer(inputs)
        finally:
            self._ended(began)

    async def _queued(self, inputs: Inputs) -> Tensors | None:
        loop = asyncio.get_running_loop()
        request = Request(inputs, loop.create_future())
        if not len(self._waiting):
            self._due_at = loop.time() + self._wait_s
        self._waiting.put(request)
        self._dispatch()
        try:
            return await request.answer
        except asyncio.CancelledError:
            self._leave(request)
            raise

    def _leave(self, request: Request) -> None:
        """Take a request back whose caller has gone, and its batch when that was the last."""
        self._waiting.discard(request)
        answered = not request.answer.cancelled()  # at the same moment
        if answered and request.answer.exception() is None and request.answer.result() is None:
            self._ended(monotonic())
        batch = request.batch
        if batch and batch.task and all(one.answer.done() for one in batch.requests):
            batch.task.cancel()

    def _dispatch(self) -> None:
        """Give the engine what it has room for, divided fairly among what it runs at a time."""
        share = min(self._size, -(-len(self._waiting) // self._concurrency))
        while len(self._waiting) and self._running < self._concurrency and not self._lingers():
            taken = [self._waiting.take() for _ in range(min(share, len(self._waiting)))]
            requests = [request for request in taken if not request.answer.done()]
            if requests:
                self._running += 1
                if len(requests) == 1:
                    requests[0].succeed(None)
                else:
                    self._begin(Batch(requests, self.inputs))

    def _begin(self, batch: Batch) -> None:
        for request in batch.requests:
            request.batch = batch
        batch.task = asyncio.create_task(self._run(batch))
        self._batches.add(batch.task)
        batch.task.add_done_callback(partial(self._batch_ended, monotonic(), len(batch.requests)))

    def _lingers(self) -> bool:
        """Whether it is worth waiting for more, which somebody is woken for then."""
        if not self._wait_s or len(self._waiting) >= self._size:
            self._disarm()
            return False
        loop = asyncio.get_running_loop()
        if loop.time() >= self._due_at:
            self._disarm()
            return False
        if self._alarm is None:
            self._alarm = loop.call_at(self._due_at, self._awake)
        return True

    def _awake(self) -> None:
        self._alarm = None
        self._due_at = 0.0
        self._dispatch()

    def _disarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None

    def _batch_ended(self, began: float, requests: int, task: asyncio.Task[None]) -> None:
        """Not at the end of the task's own work: one that is cancelled early never begins it."""
        self._batches.discard(task)
        self._ended(began, requests)

    def _ended(self, began: float, requests: int = 1) -> None:
        self._running -= 1
        each = (monotonic() - began) / requests
        self._seconds_each += _SMOOTHING * (each - self._seconds_each)
        if len(self._waiting):
            self._dispatch()

    async def _run(self, batch: Batch) -> None:
        """Run a batch, and tell everybody in it how it went; raises nothing but cancellation."""
        try:
            await self._together(batch)
        except Exception as error:
            for request in batch.requests:
                request.fail(error)

    async def _together(self, batch: Batch) -> None:
        parts: list[tuple[Request, Tensors]] = []
        spans = [request.span for request in batch.requests]
        with (
            suppress(Nobody, EngineError),
            tracing.together("batch", spans, {BATCH_SIZE: len(spans)}),
        ):
            parts = batch.divided(await self._engine.infer(batch.stacked))
        for request, error in batch.failed:
            request.fail(error)
        for request, part in parts:
            request.succeed(part)
        # When the engine took offence, at whom shows when each is run by itself.
        for request in batch.requests:
            await self._alone(request)

    async def _alone(self, request: Request) -> None:
        if request.answer.done():
            return
        try:
            with tracing.together("alone", [request.span]):
                request.succeed(await self._engine.infer(request.inputs))
        except Exception as error:
            request.fail(error)

    def _until_done_s(self) -> float:
        return len(self._waiting) * self._seconds_each / self._concurrency


def _closed() -> ModelUnavailable:
    return ModelUnavailable("the model has been closed")
