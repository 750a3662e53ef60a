"""SIFT in this process (Lowe, 2004; OpenCV's): an engine without weights.

The seam where a learned localiser and embedder go: an engine with the same tensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.errors import ModelUnavailable
from services.inference.engine import (
    EngineDescription,
    EngineError,
    Inputs,
    Tensors,
    TensorSpec,
    check_inputs,
    check_outputs,
)
from services.logo.types import Features

INPUT: Final = "grey"
POINTS: Final = "points"
DESCRIPTORS: Final = "descriptors"

INPUTS: Final = (TensorSpec(INPUT, np.dtype(np.uint8), (None, None)),)
OUTPUTS: Final = (
    TensorSpec(POINTS, np.dtype(np.float32), (None, 4)),
    TensorSpec(DESCRIPTORS, np.dtype(np.uint8), (None, 128)),
)


class SiftEngine:
    """Finds the keypoints of grey pictures, the strongest first: see `types.Features`.

    `workers` pictures are looked at at a time, one core each.
    """

    def __init__(self, *, max_features: int, contrast: float, workers: int = 1) -> None:
        self._max_features = max_features
        self._contrast = contrast
        self._workers = workers
        self._loaded = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sift")
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
        """Start the threads: there is nothing to read."""
        # OpenCV would divide one picture among all cores, of which other pictures have need.
        cv2.setNumThreads(1)
        self._loaded = True

    async def infer(self, inputs: Inputs) -> Tensors:
        """See `Engine.infer`."""
        if not self._loaded:
            raise ModelUnavailable("the model is not loaded")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, inputs)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._loaded and task is not None and not task.cancelling():
                raise ModelUnavailable("the model has been closed") from None
            raise

    async def close(self) -> None:
        """See `Engine.close`."""
        self._loaded = False
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _run(self, inputs: Inputs) -> Tensors:
        tensors = inputs() if callable(inputs) else inputs
        check_inputs(INPUTS, tensors)
        found = detect(tensors[INPUT], self._max_features, self._contrast)
        outputs: Tensors = {POINTS: found.points, DESCRIPTORS: found.descriptors}
        check_outputs(outputs)
        return outputs


def detect(grey: NDArray[np.uint8], max_features: int, contrast: float) -> Features:
    """The strongest features of a grey picture [H, W], in its pixels. Raises EngineError."""
    try:
        sift = cv2.SIFT.create(nfeatures=max_features, contrastThreshold=contrast)
        keypoints, descriptors = sift.detectAndCompute(grey, None)
    except cv2.error as error:
        raise EngineError(" ".join(str(error).split())) from error
    if descriptors is None:
        return Features(np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8))
    # OpenCV may give some more where the last ones are equally strong, and in no order.
    strength = np.array([keypoint.response for keypoint in keypoints])
    order = np.argsort(-strength, kind="stable")[:max_features]
    points = np.array(
        [(*keypoint.pt, keypoint.size, keypoint.angle % 360.0) for keypoint in keypoints],
        np.float32,
    )
    # They are whole numbers from 0 to 255 already, as floats.
    return Features(points[order], descriptors[order].astype(np.uint8))
