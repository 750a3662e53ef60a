"""What only the ONNX Runtime engine does: files, foreign errors, its threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from services.errors import ModelFileError, ModelUnavailable
from services.inference import onnx
from services.inference.engine import EngineError, Tensors
from services.inference.onnx import OnnxEngine
from tests.inference.tiny import one_operator

LOG = one_operator("Log", {"x": ("batch", 2)}, "y")
MATMUL = one_operator("MatMul", {"a": ("n", "k"), "b": ("l", "m")}, "y")


def x(*rows: tuple[float, float]) -> Tensors:
    return {"x": np.array(rows, np.float32)}


def write(folder: Path, model: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return path


@pytest.mark.parametrize("model", [b"", b"no model", LOG[:-7], LOG[: len(LOG) // 2]])
async def test_file_that_is_no_model_is_an_error_on_one_line(tmp_path: Path, model: bytes):
    """A file that ONNX Runtime cannot load is a ModelFileError naming the file."""
    path = write(tmp_path, model)
    engine = OnnxEngine(path, precision="fp32")
    with pytest.raises(ModelFileError, match="cannot be loaded") as failure:
        await engine.load()
    assert str(path) in failure.value.message
    assert "\n" not in failure.value.message
    await engine.close()


async def test_missing_file_is_an_error(tmp_path: Path):
    """A path without a file is a ModelFileError."""
    engine = OnnxEngine(tmp_path / "nothing.onnx", precision="fp32")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        await engine.load()
    await engine.close()


FOREIGN = [
    kind
    for kind in vars(runtime_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", FOREIGN)
def test_every_foreign_error_is_translated(kind: type[Exception]):
    """No exception class of ONNX Runtime passes the boundary."""
    with pytest.raises(EngineError, match="a b"), onnx._translated():
        raise kind("a\n  b")


def test_there_are_foreign_errors():
    """ONNX Runtime still keeps its exceptions where the boundary looks for them."""
    assert len(FOREIGN) >= 10


async def test_failing_operator_is_an_engine_error(tmp_path: Path):
    """Inputs that fit their declaration but not the computation are an EngineError."""
    engine = OnnxEngine(write(tmp_path, MATMUL), precision="fp32")
    await engine.load()
    ones = np.ones((2, 3), np.float32)
    assert (await engine.infer({"a": ones, "b": ones.T}))["y"].tolist() == [[3.0, 3.0]] * 2
    with pytest.raises(EngineError, match="MatMul"):
        await engine.infer({"a": ones, "b": ones})
    await engine.close()


async def test_warm_up_runs_while_loading(tmp_path: Path):
    """Loading runs the warm-up inputs: one that the model does not take stops the start."""
    wrong = {"x": np.ones((1, 3), np.float32)}
    engine = OnnxEngine(write(tmp_path, LOG), precision="fp32", warm_up=[x((1.0, 1.0)), wrong])
    with pytest.raises(ModelFileError, match=r"cannot be run: input 'x' .* cannot be"):
        await engine.load()
    await engine.close()


def held(started: threading.Event, release: threading.Event) -> Callable[[], Tensors]:
    def prepare() -> Tensors:
        started.set()
        assert release.wait(30)
        return x((1.0, 1.0))

    return prepare


async def test_close_finishes_what_runs_and_drops_what_waits(tmp_path: Path):
    """On close the running inference ends well; one in the queue is told that the model is gone."""
    engine = OnnxEngine(write(tmp_path, LOG), precision="fp32", workers=1)
    await engine.load()
    started, release = threading.Event(), threading.Event()
    running = asyncio.create_task(engine.infer(held(started, release)))
    await asyncio.to_thread(started.wait, 30)
    waiting = asyncio.create_task(engine.infer(x((1.0, 1.0))))
    await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(ModelUnavailable, match="closed"):
        await waiting
    assert not running.done()
    release.set()
    assert (await running)["y"].tolist() == [[0.0, 0.0]]
    await closing
    assert not [t for t in threading.enumerate() if t.name.startswith("onnx")]


async def test_cancelled_job_in_the_queue_never_runs(tmp_path: Path):
    """A caller that leaves while its job waits takes the job with it."""
    engine = OnnxEngine(write(tmp_path, LOG), precision="fp32", workers=1)
    await engine.load()
    started, release = threading.Event(), threading.Event()
    running = asyncio.create_task(engine.infer(held(started, release)))
    await asyncio.to_thread(started.wait, 30)
    ran = threading.Event()
    leaving = asyncio.create_task(engine.infer(held(ran, release)))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    release.set()
    await running
    # One worker works in order: had the job been kept, it would have run before this one.
    await engine.infer(x((1.0, 1.0)))
    assert not ran.is_set()
    await engine.close()


async def test_workers_run_side_by_side(tmp_path: Path):
    """As many inferences as there are workers run at the same time."""
    engine = OnnxEngine(write(tmp_path, LOG), precision="fp32", workers=3)
    await engine.load()
    together = threading.Barrier(3)

    def prepare() -> Tensors:
        together.wait(30)
        return x((1.0, 1.0))

    await asyncio.gather(*(engine.infer(prepare) for _ in range(3)))
    await engine.close()
