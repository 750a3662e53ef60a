"""What every engine promises, over each of them: a model that takes logarithms."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from services.errors import CorruptImage, ModelUnavailable
from services.inference.batching import BatchingEngine
from services.inference.engine import (
    Engine,
    EngineInputError,
    EngineOutputError,
    Tensors,
    TensorSpec,
)
from services.inference.fake import FakeEngine
from services.inference.onnx import OnnxEngine
from tests.inference.tiny import one_operator

X = TensorSpec("x", np.dtype(np.float32), (None, 2))
Y = TensorSpec("y", np.dtype(np.float32), (None, 2))


def onnx_engine(folder: Path) -> Engine:
    path = folder / "log.onnx"
    path.write_bytes(one_operator("Log", {"x": ("batch", 2)}, "y"))
    return OnnxEngine(path, precision="fp32", workers=2)


def fake_engine(folder: Path) -> Engine:
    def answer(inputs: Tensors) -> Tensors:
        with np.errstate(all="ignore"):
            return {"y": np.log(inputs["x"])}

    return FakeEngine([X], [Y], answer)


def batching_onnx(folder: Path) -> Engine:
    return BatchingEngine(onnx_engine(folder), concurrency=2, size=4, warm_up=[x((1.0, 1.0))])


def batching_fake(folder: Path) -> Engine:
    return BatchingEngine(fake_engine(folder), concurrency=2, size=4)


def patient_fake(folder: Path) -> Engine:
    return BatchingEngine(fake_engine(folder), concurrency=2, size=4, wait_s=0.01)


@pytest.fixture(params=[onnx_engine, fake_engine, batching_onnx, batching_fake, patient_fake])
def closed_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    engine: Engine = request.param(tmp_path)
    return engine


@pytest.fixture
async def engine(closed_engine: Engine) -> AsyncIterator[Engine]:
    await closed_engine.load()
    yield closed_engine
    await closed_engine.close()


def x(*rows: tuple[float, float]) -> Tensors:
    return {"x": np.array(rows, np.float32)}


async def test_tensors_go_in_and_come_out(engine: Engine):
    """Any batch of the declared shape comes back as outputs by name."""
    for rows in ([(1.0, 2.0)], [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]):
        outputs = await engine.infer(x(*rows))
        assert set(outputs) == {"y"}
        np.testing.assert_allclose(outputs["y"], np.log(rows), rtol=1e-6)
    assert list(engine.inputs) == [X]
    assert [spec.name for spec in engine.outputs] == ["y"]


async def test_inputs_are_made_off_the_event_loop(engine: Engine):
    """A function that makes the inputs runs in another thread, while the loop goes on."""
    loop_turned = threading.Event()
    threads: list[int] = []

    def prepare() -> Tensors:
        threads.append(threading.get_ident())
        assert loop_turned.wait(30), "the event loop stood still"
        return x((1.0, 1.0))

    waiting = asyncio.create_task(engine.infer(prepare))
    await asyncio.sleep(0)
    loop_turned.set()
    assert (await waiting)["y"].tolist() == [[0.0, 0.0]]
    assert threads[0] != threading.get_ident()


async def test_errors_while_inputs_are_made_stay_what_they_are(engine: Engine):
    """What the function raises reaches the caller unchanged, and the engine goes on."""

    def prepare() -> Tensors:
        raise CorruptImage("cut short")

    with pytest.raises(CorruptImage, match="cut short"):
        await engine.infer(prepare)
    await engine.infer(x((1.0, 1.0)))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, r"'x' float32 \[N, 2\] is missing"),
        ({**x((1, 1)), "z": np.zeros(1)}, r"no input is called 'z'; there are: \['x'\]"),
        ({"x": np.ones((1, 2))}, r"'x' float32 \[N, 2\] cannot be float64 \[1, 2\]"),
        ({"x": np.ones((1, 3), np.float32)}, r"cannot be float32 \[1, 3\]"),
        ({"x": np.ones(2, np.float32)}, r"cannot be float32 \[2\]"),
    ],
    ids=["missing", "unknown", "dtype", "shape", "rank"],
)
async def test_inputs_of_another_form_are_refused(engine: Engine, inputs: Tensors, words: str):
    """Inputs that the model does not take are refused with what it takes and what came."""
    with pytest.raises(EngineInputError, match=words):
        await engine.infer(inputs)


@pytest.mark.parametrize("value", [-1.0, 0.0], ids=["NaN", "infinity"])
async def test_no_result_is_made_of_what_is_no_number(engine: Engine, value: float):
    """An output with NaN or an infinity is an error, even when other rows are fine."""
    with pytest.raises(EngineOutputError, match="'y' holds values that are not finite"):
        await engine.infer(x((1.0, 1.0), (1.0, value)))


async def test_engine_that_is_not_loaded_or_closed_is_unavailable(closed_engine: Engine):
    """Before `load` and after `close` an engine says that the model is unavailable."""
    with pytest.raises(ModelUnavailable):
        await closed_engine.infer(x((1.0, 1.0)))
    await closed_engine.load()
    await closed_engine.infer(x((1.0, 1.0)))
    await closed_engine.close()
    await closed_engine.close()
    with pytest.raises(ModelUnavailable):
        await closed_engine.infer(x((1.0, 1.0)))


async def test_cancelled_caller_leaves_alone(engine: Engine):
    """A caller that is cancelled leaves at once, and those beside it get their results."""
    started, release = threading.Event(), threading.Event()

    def prepare() -> Tensors:
        started.set()
        assert release.wait(30)
        return x((1.0, 1.0))

    leaving = asyncio.create_task(engine.infer(prepare))
    await asyncio.to_thread(started.wait, 30)
    beside = [asyncio.create_task(engine.infer(x((float(n), 1.0)))) for n in range(1, 9)]
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    release.set()
    outputs = await asyncio.gather(*beside)
    np.testing.assert_allclose([o["y"][0, 0] for o in outputs], np.log(range(1, 9)), rtol=1e-6)


def test_description_is_known_before_loading(closed_engine: Engine):
    """An engine says what it is before it is loaded: a version needs no session."""
    description = closed_engine.description
    assert all([description.name, description.version, description.provider])
    assert description.precision == "fp32"
