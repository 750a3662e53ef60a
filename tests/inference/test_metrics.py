"""What is measured of inferences: their time, their sizes, what waits, and whose CPU it is."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.inference.batching import BatchingEngine
from services.inference.engine import Tensors, TensorSpec
from services.inference.fake import FakeEngine
from services.inference.metrics import ModelMetrics
from services.inference.onnx import OnnxEngine
from services.inference.turns import Slots
from services.inference.workers import Workers
from tests.inference.tiny import one_operator
from tests.support.prometheus import value

CPU = "visionmesh_model_cpu_seconds_total"
DEPTH = "visionmesh_model_queue_depth"
LIMIT = "visionmesh_model_queue_limit"
WAITED = "visionmesh_model_queue_seconds"

SPEC = TensorSpec("x", np.dtype(np.float32), (None, None))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_inferences_by_file_and_size(registry: CollectorRegistry, tmp_path: Path):
    """Each inference counts once, with how many inputs it had; another file is another series."""
    path = tmp_path / "model.onnx"
    path.write_bytes(one_operator("Log", {"x": ("batch", 2)}, "y"))
    metrics = ModelMetrics("ocr", registry)
    engines = [OnnxEngine(path, precision="fp32", metrics=metrics, file=one) for one in ("a", "b")]
    for engine, rows in zip(engines, ((1, 3), (2,)), strict=True):
        await engine.load()
        for count in rows:
            await engine.infer({"x": np.ones((count, 2), np.float32)})
        await engine.close()
    for file, count, inputs in (("a", 2, 4), ("b", 1, 2)):
        of = {"model": "ocr", "file": file}
        assert value(registry, "visionmesh_model_batch_size_count", **of) == count
        assert value(registry, "visionmesh_model_batch_size_sum", **of) == inputs
        assert value(registry, "visionmesh_model_inference_seconds_count", **of) == count
        assert value(registry, "visionmesh_model_inference_seconds_sum", **of) > 0
    assert value(registry, CPU, model="ocr") > 0


async def test_a_job_costs_what_its_thread_used(registry: CollectorRegistry):
    """CPU and not time: a job that waits costs nothing, one that fails costs what it used."""
    workers = Workers(1, "work", ModelMetrics("nsfw", registry).used)
    await workers.run(lambda: time.sleep(0.2))
    idle = value(registry, CPU, model="nsfw")
    assert idle < 0.1

    def busy() -> None:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        raise ValueError("busy")

    with pytest.raises(ValueError, match="busy"):
        await workers.run(busy)
    assert value(registry, CPU, model="nsfw") - idle >= 0.2
    await workers.close()


async def test_what_waits_for_its_turn(registry: CollectorRegistry):
    """The depth is that of the moment, beside the limit at which callers are refused."""
    held, opened = asyncio.Event(), asyncio.Event()

    async def hold(_: Tensors) -> None:
        held.set()
        await opened.wait()

    inner = FakeEngine([SPEC], [SPEC], lambda tensors: tensors, hold)
    engine = BatchingEngine(
        inner, concurrency=1, max_waiting=7, metrics=ModelMetrics("nsfw", registry)
    )
    await engine.load()
    inputs = {"x": np.ones((1, 1), np.float32)}
    tasks = [asyncio.create_task(engine.infer(inputs)) for _ in range(4)]
    await held.wait()
    assert value(registry, DEPTH, model="nsfw", queue="turns") == 3
    assert value(registry, LIMIT, model="nsfw") == 7
    tasks.pop().cancel()
    opened.set()
    await asyncio.gather(*tasks)
    # Neither the first, which found room, nor the last, which left.
    assert value(registry, f"{WAITED}_count", model="nsfw") == 2
    assert value(registry, f"{WAITED}_sum", model="nsfw") > 0
    assert value(registry, DEPTH, model="nsfw", queue="turns") == 0
    await engine.close()


async def test_jobs_of_all_pools_wait_together(registry: CollectorRegistry):
    """A model's pools are one queue; slots count as turns."""
    metrics = ModelMetrics("ocr", registry)
    pools = [Workers(1, name, metrics.used) for name in ("one", "two")]
    for pool in pools:
        metrics.queue("jobs", partial(getattr, pool, "waiting"))
    slots = Slots(1, 5, metrics.waited)
    metrics.queue("turns", lambda: slots.waiting, 5)
    opened = threading.Event()
    jobs = [asyncio.create_task(pool.run(opened.wait)) for pool in pools for _ in range(3)]
    async with slots:
        waiting = asyncio.create_task(_through(slots))
        await asyncio.sleep(0)
        assert value(registry, DEPTH, model="ocr", queue="jobs") == 4
        assert value(registry, DEPTH, model="ocr", queue="turns") == 1
    await waiting
    assert value(registry, f"{WAITED}_count", model="ocr") == 1
    opened.set()
    await asyncio.gather(*jobs)
    assert value(registry, DEPTH, model="ocr", queue="jobs") == 0
    for pool in pools:
        await pool.close()


async def _through(slots: Slots) -> None:
    async with slots:
        pass
