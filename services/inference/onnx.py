"""ONNX Runtime in this process, on its CPU. The only module that knows ONNX Runtime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from services.errors import ModelFileError, ModelUnavailable
from services.inference.engine import (
    EngineDescription,
    EngineError,
    EngineInputError,
    Inputs,
    Tensors,
    TensorSpec,
    check_inputs,
    check_outputs,
)
from services.inference.metrics import ModelMetrics
from services.inference.workers import Workers, WorkersClosed
from services.serving import tracing
from services.serving.attributes import BATCH_SIZE, ENGINE_NAME, MODEL_FILE
from services.serving.spans import NOT_RECORDED, Phases

PROVIDER: Final = "CPUExecutionProvider"

_ERRORS_ONLY: Final = 3

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
}

# ONNX Runtime's exceptions have no common base of their own.
_FOREIGN: Final[tuple[type[Exception], ...]] = tuple(
    kind
    for kind in vars(runtime_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


class OnnxEngine:
    """Runs one ONNX file with ONNX Runtime.

    `workers` inferences run at a time, each on `threads` cores: for many small models one thread
    each is the most throughput, more threads shorten a lone request. What waits, waits in order.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: str,
        workers: int = 1,
        threads: int = 1,
        warm_up: Sequence[Tensors] = (),
        metrics: ModelMetrics | None = None,
        file: str = "",
    ) -> None:
        """`warm_up` holds inputs of each shape that the engine will see, run once by `load`.
        `metrics` are told of each inference, as of `file`."""
        self._path = path
        self._threads = threads
        self._workers = workers
        self._warm_up = tuple(warm_up)
        self._session: onnxruntime.InferenceSession | None = None
        self._inputs: tuple[TensorSpec, ...] = ()
        self._outputs: tuple[TensorSpec, ...] = ()
        self._metadata: Mapping[str, str] = {}
        metrics = metrics or ModelMetrics("")
        self._measured = metrics.of(file or path.stem)
        self._pool = Workers(workers, "onnx", metrics.used)
        metrics.queue("jobs", lambda: self._pool.waiting)
        self._description = EngineDescription(
            "onnxruntime", onnxruntime.__version__, PROVIDER, precision
        )

    @property
    def description(self) -> EngineDescription:
        return self._description

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
        """Open the file and run each warm-up input on every worker.

        Raises ModelFileError, also when it does not take these inputs: then it is another model's.
        """
        session = await self._pool.run(self._open)
        self._inputs = tuple(map(_spec, session.get_inputs()))
        self._outputs = tuple(map(_spec, session.get_outputs()))
        self._metadata = session.get_modelmeta().custom_metadata_map
        self._session = session
        for tensors in self._warm_up:
            # All at once: so every thread is started, and the arena holds what all of them need.
            try:
                await asyncio.gather(*(self.infer(tensors) for _ in range(self._workers)))
            except EngineError as error:
                raise ModelFileError(f"{self._path} cannot be run: {error}") from error

    async def infer(self, inputs: Inputs) -> Tensors:
        """See `Engine.infer`."""
        session = self._session
        if session is None:
            raise ModelUnavailable("the model is not loaded")
        try:
            with tracing.phases("queue") as phases:
                # A caller that leaves takes its job out of the queue; one that runs already runs
                # to its end, which takes milliseconds.
                return await self._pool.run(partial(self._run, session, inputs, phases))
        except WorkersClosed:
            raise ModelUnavailable("the model has been closed") from None

    async def close(self) -> None:
        """See `Engine.close`."""
        self._session = None
        await self._pool.close()

    def _about(self, size: int) -> dict[str, str | int]:
        """What the span of an inference says."""
        return {
            ENGINE_NAME: self._description.name,
            MODEL_FILE: self._path.name,
            BATCH_SIZE: size,
        }

    def _open(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Idle workers that spin for the next operator take the cores from the other inferences.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            with _translated():
                return onnxruntime.InferenceSession(self._path, options, providers=[PROVIDER])
        except EngineError as error:
            raise ModelFileError(f"{self._path} cannot be loaded: {error}") from error

    def _run(
        self, session: onnxruntime.InferenceSession, inputs: Inputs, phases: Phases = NOT_RECORDED
    ) -> Tensors:
        phases.begin("preprocess")
        tensors = inputs() if callable(inputs) else inputs
        check_inputs(self._inputs, tensors)
        size = len(tensors[self._inputs[0].name])
        phases.begin("inference", self._about(size))
        began = time.perf_counter()
        with _translated():
            arrays = session.run(None, dict(tensors))
        self._measured.ran(size, time.perf_counter() - began)
        outputs = {spec.name: array for spec, array in zip(self._outputs, arrays, strict=True)}
        check_outputs(outputs)
        return outputs


@contextmanager
def _translated() -> Iterator[None]:
    """The one boundary at which ONNX Runtime's exceptions become ours."""
    try:
        yield
    except _FOREIGN as error:
        raise EngineError(" ".join(str(error).split())) from error
    except (ValueError, TypeError) as error:
        # What its Python wrapper raises itself, about the feed.
        raise EngineInputError(str(error)) from error


def _spec(node: Any) -> TensorSpec:
    """ONNX Runtime's description of a tensor; a symbolic size is free."""
    if node.type not in _DTYPES:
        raise ModelFileError(f"tensor {node.name!r} is {node.type}, which no engine here takes")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, _DTYPES[node.type], shape)
