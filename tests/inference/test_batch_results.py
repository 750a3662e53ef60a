"""Whether the graphs that are run in batches give in a batch what they give alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import registry
from services.inference.onnx import OnnxEngine

DFINE = Path(__file__).parents[1] / "detection" / "dfine" / "tiny.onnx"
"""The architecture with random weights."""


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("file", ["nsfw", "detection", "dfine"])
async def test_row_of_a_batch_is_what_it_is_alone(file: str, size: int):
    """Each row of a batch's outputs is, bit for bit, the output for that input alone: a result does
    not depend on who was asked about at the same moment."""
    path = DFINE if file == "dfine" else registry.path(file)
    engine = OnnxEngine(path, precision="fp32")
    await engine.load()
    (spec,) = engine.inputs
    rng = np.random.default_rng(size)
    shape = [size, *(side or 1 for side in spec.shape[1:])]
    batch = (rng.random(shape) * (1 if file == "dfine" else 255)).astype(spec.dtype)
    together = await engine.infer({spec.name: batch})
    for place in range(size):
        alone = await engine.infer({spec.name: batch[place : place + 1]})
        for name, array in alone.items():
            assert array.tobytes() == together[name][place : place + 1].tobytes()
    await engine.close()
