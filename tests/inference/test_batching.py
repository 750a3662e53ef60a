"""Batches: who is in them, and that nobody in them notices the others."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.errors import CorruptImage, ModelFileError, ModelUnavailable, Overloaded
from services.inference.batching import BatchingEngine
from services.inference.engine import (
    EngineError,
    EngineInputError,
    EngineOutputError,
    Tensors,
    TensorSpec,
)
from services.inference.fake import FakeEngine
from services.inference.onnx import OnnxEngine
from services.inference.turns import new_caller
from tests.inference.tiny import one_operator

X = TensorSpec("x", np.dtype(np.float32), (None, None))
Y = TensorSpec("y", np.dtype(np.float32), (None, None))

POISON = -1.0
"""Of this the engine makes no number, whatever is beside it."""


def x(value: float, width: int = 2) -> Tensors:
    return {"x": np.full((1, width), value, np.float32)}


class Seen:
    """An engine that squares, and what it saw: the values of each inference.

    While `closed` the inferences wait; `waiting` is set when one does.
    """

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.waiting = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.output: Callable[[NDArray[np.float32]], NDArray[np.float32]] = np.square
        self.engine = FakeEngine([X], [Y], self._answer, self._wait)

    async def _wait(self, inputs: Tensors) -> None:
        self.waiting.set()
        await self.open.wait()

    def _answer(self, inputs: Tensors) -> Tensors:
        values = inputs["x"]
        self.batches.append(values[:, 0].tolist())
        return {"y": self.output(np.where(values == POISON, np.float32(np.nan), values))}


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def make(seen: Seen) -> AsyncIterator[Callable[..., BatchingEngine]]:
    made: list[BatchingEngine] = []

    def of(
        *, concurrency: int = 1, size: int = 8, wait_s: float = 0.0, max_waiting: int = 256
    ) -> BatchingEngine:
        engine = BatchingEngine(
            seen.engine,
            concurrency=concurrency,
            size=size,
            wait_s=wait_s,
            max_waiting=max_waiting,
        )
        made.append(engine)
        return engine

    await seen.engine.load()
    yield of
    seen.open.set()
    for engine in made:
        await engine.close()


def values(*outputs: Tensors | BaseException) -> list[float]:
    """What the first row of each says."""
    return [float(one["y"][0, 0]) for one in outputs if not isinstance(one, BaseException)]


async def asked(
    engine: BatchingEngine, seen: Seen, values: Iterable[float]
) -> list[asyncio.Task[Tensors]]:
    """Requests that wait behind one, 0, which the model is held at."""
    seen.open.clear()
    seen.waiting.clear()
    tasks = [asyncio.create_task(engine.infer(x(0)))]
    await seen.waiting.wait()
    tasks += [asyncio.create_task(engine.infer(partial(x, value))) for value in values]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_waits_goes_together(make: Callable[..., BatchingEngine], seen: Seen):
    """While the engine is busy requests gather, and each gets its own row of their batch."""
    tasks = await asked(make(), seen, range(1, 13))
    seen.open.set()
    outputs = await asyncio.gather(*tasks)
    assert [float(one["y"][0, 0]) for one in outputs] == [value**2 for value in range(13)]
    assert [one["y"].shape for one in outputs] == [(1, 2)] * 13
    assert seen.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12]]


async def test_lone_request_waits_for_nobody(make: Callable[..., BatchingEngine], seen: Seen):
    """Requests one after the other go on at once, each alone."""
    engine = make()
    for value in range(5):
        await engine.infer(x(value))
    assert seen.batches == [[value] for value in range(5)]


async def test_what_waits_is_divided_among_workers(make: Callable[..., BatchingEngine], seen: Seen):
    """One worker does not take everything when others will be free soon."""
    engine = make(concurrency=2)
    seen.open.clear()
    tasks = [asyncio.create_task(engine.infer(x(value))) for value in range(8)]
    await seen.waiting.wait()
    await asyncio.sleep(0)
    seen.open.set()
    await asyncio.gather(*tasks)
    assert max(map(len, seen.batches)) <= 3


async def test_patient_batch_fills_up(make: Callable[..., BatchingEngine], seen: Seen):
    """With a time to wait, requests go when the batch is full, and else when the time is over."""
    engine = make(size=4, wait_s=3600)
    tasks = [asyncio.create_task(engine.infer(x(value))) for value in range(4)]
    await asyncio.gather(*tasks)
    assert seen.batches == [[0, 1, 2, 3]]
    engine = make(size=4, wait_s=0.001)
    await asyncio.gather(engine.infer(x(1)), engine.infer(x(2)))
    assert seen.batches[1:] == [[1, 2]]


async def test_inputs_that_fail_to_be_made_fail_alone(
    make: Callable[..., BatchingEngine], seen: Seen
):
    """What one request's function raises, or makes wrongly, is that request's alone."""

    def corrupt() -> Tensors:
        raise CorruptImage("cut short")

    engine = make()
    tasks = await asked(engine, seen, (1, 2))
    tasks += [
        asyncio.create_task(engine.infer(inputs))
        for inputs in (corrupt, {"x": np.zeros(1, np.float32)}, partial(x, 3))
    ]
    await asyncio.sleep(0)
    seen.open.set()
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in outputs[3:5]] == [CorruptImage, EngineInputError]
    assert values(*outputs[:3], outputs[5]) == [0, 1, 4, 9]
    assert seen.batches == [[0], [1, 2, 3]]


async def test_poison_fails_alone(make: Callable[..., BatchingEngine], seen: Seen):
    """Of a batch with a row that is no number, the others are run again and have results."""
    tasks = await asked(make(), seen, (1, 2, POISON, 4))
    seen.open.set()
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outputs[3], EngineOutputError)
    assert values(*outputs[:3], outputs[4]) == [0, 1, 4, 16]
    assert seen.batches == [[0], [1, 2, POISON, 4], [1], [2], [POISON], [4]]


async def test_shapes_that_do_not_fit_go_one_by_one(
    make: Callable[..., BatchingEngine], seen: Seen
):
    """Tensors of several widths are no batch, and each has its answer."""
    engine = make()
    tasks = await asked(engine, seen, (1,))
    tasks.append(asyncio.create_task(engine.infer(x(2, width=5))))
    await asyncio.sleep(0)
    seen.open.set()
    outputs = await asyncio.gather(*tasks)
    assert [one["y"].shape for one in outputs] == [(1, 2), (1, 2), (1, 5)]
    assert seen.batches == [[0], [1], [2]]


async def test_outputs_that_do_not_add_up_are_nobodys(
    make: Callable[..., BatchingEngine], seen: Seen
):
    """An engine that gives another number of rows than it got is not believed: each goes alone."""
    tasks = await asked(make(), seen, (1, 2))
    seen.output = lambda values: np.square(values)[:1]
    seen.open.set()
    outputs = await asyncio.gather(*tasks)
    assert [float(one["y"][0, 0]) for one in outputs] == [0, 1, 4]
    assert seen.batches == [[0], [1, 2], [1], [2]]


async def test_who_leaves_the_queue_never_reaches_the_engine(
    make: Callable[..., BatchingEngine], seen: Seen
):
    """A request that is cancelled or late while it waits is in no batch."""
    engine = make()
    tasks = await asked(engine, seen, (1, 2, 3))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await engine.infer(x(4))
    tasks[2].cancel()
    seen.open.set()
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outputs[2], asyncio.CancelledError)
    assert seen.batches == [[0], [1, 3]]


async def test_who_leaves_a_batch_disturbs_nobody(make: Callable[..., BatchingEngine], seen: Seen):
    """The others of a batch that is being run have results when one of them is cancelled."""
    engine = make(concurrency=2)
    tasks = await asked(engine, seen, (10, 1, 2, 3, 4))
    seen.open.set()
    await tasks[0]
    seen.open.clear()
    tasks[3].cancel()
    seen.open.set()
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outputs[3], asyncio.CancelledError)
    assert values(*outputs[:3], *outputs[4:]) == [0, 100, 1, 9, 16]


async def test_batch_that_nobody_waits_for_makes_room(
    make: Callable[..., BatchingEngine], seen: Seen
):
    """When all callers of a batch have left, its place is free for others at once."""
    engine = make()
    tasks = await asked(engine, seen, (1, 2))
    seen.open.set()
    await tasks[0]
    seen.open.clear()
    seen.waiting.clear()
    await seen.waiting.wait()
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    seen.open.set()
    assert float((await engine.infer(x(5)))["y"][0, 0]) == 25


async def test_full_queue_is_refused_at_once(make: Callable[..., BatchingEngine], seen: Seen):
    """Beyond `max_waiting` a request is refused while the engine is busy; later it is welcome."""
    engine = make(max_waiting=3)
    tasks = await asked(engine, seen, (1, 2, 3))
    with pytest.raises(Overloaded) as failure:
        await engine.infer(x(4))
    assert failure.value.retry_after_s >= 1
    seen.open.set()
    await asyncio.gather(*tasks)
    await engine.infer(x(4))
    assert seen.batches == [[0], [1, 2, 3], [4]]


async def test_callers_take_turns(make: Callable[..., BatchingEngine], seen: Seen):
    """One request of another caller is in the next batch, whatever waits before it."""
    engine = make(size=4)

    async def call(values: Iterable[float]) -> list[Tensors]:
        new_caller()
        return await asyncio.gather(*(engine.infer(x(value)) for value in values))

    tasks = await asked(engine, seen, ())
    calls = [asyncio.create_task(call(range(1, 21)))]
    await asyncio.sleep(0)
    calls += [asyncio.create_task(call([100])), asyncio.create_task(call([200]))]
    for _ in range(3):
        await asyncio.sleep(0)
    seen.open.set()
    await asyncio.gather(*tasks, *calls)
    assert seen.batches[1] == [1, 100, 200, 2]


async def test_close_drops_what_waits(make: Callable[..., BatchingEngine], seen: Seen):
    """On closing whoever waits is told that the model is gone, and later ones are too."""
    engine = make()
    tasks = await asked(engine, seen, (1, 2))
    closing = asyncio.create_task(engine.close())
    for task in tasks[1:]:
        with pytest.raises(ModelUnavailable, match="closed"):
            await task
    seen.open.set()
    await closing
    await tasks[0]
    with pytest.raises(ModelUnavailable):
        await engine.infer(x(1))
    assert seen.batches == [[0]]


async def test_graph_that_takes_one_at_a_time_gets_one(seen: Seen):
    """Where the first axis of a tensor is not free, no batches are made."""
    fixed = TensorSpec("x", np.dtype(np.float32), (1, 2))
    seen.engine = FakeEngine([fixed], [Y], seen._answer, seen._wait)
    engine = BatchingEngine(seen.engine, concurrency=1, size=8, warm_up=[x(0)])
    await engine.load()
    tasks = await asked(engine, seen, (1, 2, 3))
    seen.open.set()
    await asyncio.gather(*tasks)
    assert seen.batches == [[0], [1], [2], [3]]
    await engine.close()


async def test_full_batches_are_warmed_up(seen: Seen):
    """Loading runs a full batch of each warm-up input; one that cannot be run stops the start."""
    engine = BatchingEngine(seen.engine, concurrency=2, size=4, warm_up=[x(1)])
    await engine.load()
    assert seen.batches == [[1, 1, 1, 1]] * 2
    broken = BatchingEngine(seen.engine, concurrency=2, size=4, warm_up=[x(POISON)])
    with pytest.raises(ModelFileError, match="no batch of 4 can be run"):
        await broken.load()
    await engine.close()


async def test_preparing_is_parallel(tmp_path: Path):
    """Inputs of several batches are made at the same time, as many as there are workers."""
    path = tmp_path / "log.onnx"
    path.write_bytes(one_operator("Log", {"x": ("batch", 2)}, "y"))
    inner = OnnxEngine(path, precision="fp32", workers=3)
    engine = BatchingEngine(inner, concurrency=3, size=4)
    await engine.load()
    together = threading.Barrier(3)

    def prepare() -> Tensors:
        together.wait(30)
        return x(1.0)

    await asyncio.gather(*(engine.infer(prepare) for _ in range(9)))
    await engine.close()


async def test_random_leaving_leaves_nothing_behind(
    make: Callable[..., BatchingEngine], seen: Seen
):
    """Of 2,000 requests, of which many are cancelled, late, corrupt or poisoned, each ends as it
    should, nothing hangs, and afterwards the engine is as free as before."""
    engine = make(concurrency=3, size=5, max_waiting=10_000)
    chance = random.Random(7)

    def corrupt() -> Tensors:
        raise CorruptImage("cut short")

    async def one(number: int) -> str:
        new_caller()
        fate = chance.choices(["fine", "cancelled", "late", "corrupt", "poison"], [6, 2, 1, 1, 1])
        made: dict[str, Callable[[], Tensors]] = {"corrupt": corrupt, "poison": partial(x, POISON)}
        inputs = made.get(fate[0], partial(x, float(number)))
        task = asyncio.create_task(engine.infer(inputs))
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        if fate[0] == "cancelled":
            task.cancel()
        try:
            async with asyncio.timeout(0 if fate[0] == "late" else 60):
                outputs = await task
            assert float(outputs["y"][0, 0]) == np.float32(number) ** 2
            assert fate[0] in ("fine", "cancelled", "late")  # these may have been done before
        except asyncio.CancelledError:
            assert fate[0] == "cancelled"
        except TimeoutError:
            assert fate[0] == "late"
        except CorruptImage:
            assert fate[0] == "corrupt"
        except EngineError:
            assert fate[0] == "poison"
        return fate[0]

    async with asyncio.timeout(120):
        fates = await asyncio.gather(*map(one, range(2000)))
    assert len(set(fates)) == 5
    assert max(map(len, seen.batches)) == 5
    await engine.infer(x(1))
    assert (engine._running, len(engine._waiting), engine._batches) == (0, 0, set())
