"""SIFT in this process: an engine without weights.

The seam where a learned localiser and embedder go: an engine with the same tensors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import cv2
import numpy as np

from services.errors import ModelUnavailable
from services.inference.engine import (
    EngineDescription,
    Inputs,
    Tensors,
    TensorSpec,
    check_inputs,
    check_outputs,
)
from services.inference.metrics import ModelMetrics
from services.inference.workers import Workers, WorkersClosed
from services.logo.sift import DESCRIPTORS, INPUT, POINTS, detect
from services.serving import tracing
from services.serving.attributes import BATCH_SIZE, ENGINE_NAME
from services.serving.spans import NOT_RECORDED, Phases

INPUTS: Final = (TensorSpec(INPUT, np.dtype(np.uint8), (None, None)),)
OUTPUTS: Final = (
    TensorSpec(POINTS, np.dtype(np.float32), (None, 4)),
    TensorSpec(DESCRIPTORS, np.dtype(np.uint8), (None, 128)),
)


class SiftEngine:
    """Finds the keypoints of grey pictures, the strongest first: see `types.Features`.

    `workers` pictures are looked at at a time, one core each.
    """

    def __init__(
        self,
        *,
        max_features: int,
        contrast: float,
        workers: int = 1,
        metrics: ModelMetrics | None = None,
    ) -> None:
        self._max_features = max_features
        self._contrast = contrast
        self._loaded = False
        metrics = metrics or ModelMetrics("")
        self._measured = metrics.of("sift")
        self._pool = Workers(workers, "sift", metrics.used)
        metrics.queue("jobs", lambda: self._pool.waiting)
        self._description = EngineDescription("opencv-sift", cv2.__version__, "cpu", "fp32")

    @property
    def description(self) -> EngineDescription:
        return self._description

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return INPUTS

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return OUTPUTS

    @property
    def metadata(self) -> Mapping[str, str]:
        """Nothing: there is no file."""
        return {}

    async def load(self) -> None:
        """There is nothing to read."""
        # OpenCV would divide one picture among all cores, of which other pictures have need.
        cv2.setNumThreads(1)
        self._loaded = True

    async def infer(self, inputs: Inputs) -> Tensors:
        """See `Engine.infer`."""
        if not self._loaded:
            raise ModelUnavailable("the model is not loaded")
        try:
            with tracing.phases("queue") as phases:
                return await self._pool.run(partial(self._run, inputs, phases))
        except WorkersClosed:
            raise ModelUnavailable("the model has been closed") from None

    async def close(self) -> None:
        """See `Engine.close`."""
        self._loaded = False
        await self._pool.close()

    def _run(self, inputs: Inputs, phases: Phases = NOT_RECORDED) -> Tensors:
        phases.begin("preprocess")
        tensors = inputs() if callable(inputs) else inputs
        check_inputs(INPUTS, tensors)
        phases.begin("inference", {ENGINE_NAME: self._description.name, BATCH_SIZE: 1})
        began = time.perf_counter()
        found = detect(tensors[INPUT], self._max_features, self._contrast)
        self._measured.ran(1, time.perf_counter() - began)
        outputs: Tensors = {POINTS: found.points, DESCRIPTORS: found.descriptors}
        check_outputs(outputs)
        return outputs
