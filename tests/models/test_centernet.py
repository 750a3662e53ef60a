"""The converted CenterNet against TensorFlow.js itself: golden tensors made by golden.mjs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from models import registry

GOLDEN = json.loads((Path(__file__).parent / "centernet" / "golden.json").read_text("utf-8"))


def picture(seed: int) -> NDArray[np.uint8]:
    """The picture that golden.mjs draws, uint8 [512, 512, 3]."""
    y, x, c = np.mgrid[:512, :512, :3]
    ground = ((x * (seed + c + 1)) >> 2) + ((y * (seed + 3 - c)) >> 3)
    dx, dy = x - 170 - 20 * seed, y - 260
    stripe = ((x ^ y) >> (3 + seed)) & 1
    value = np.where(dx * dx + 2 * dy * dy < 24000, 40 + 60 * c + 50 * stripe, ground)
    pixels: NDArray[np.uint8] = (value & 255).astype(np.uint8)
    return pixels


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(registry.path("detection"))


def samples(tensor: NDArray[Any]) -> NDArray[Any]:
    """The values that golden.mjs keeps of a tensor [1, C, H, W]."""
    flat = tensor.transpose(0, 2, 3, 1).ravel()
    kept: NDArray[Any] = flat[np.arange(GOLDEN["samples"]) * GOLDEN["step"] % flat.size]
    return kept


@pytest.mark.parametrize("golden", GOLDEN["pictures"], ids=lambda golden: golden["seed"])
def test_tensors_are_those_of_tensorflow_js(session, golden: dict[str, Any]):
    """Heatmap and distances agree with TensorFlow.js to what the order of sums leaves."""
    heat, distances = session.run(None, {"images": picture(golden["seed"])[None]})
    assert heat.shape == (1, 80, 128, 128)
    assert distances.shape == (1, 4, 128, 128)
    np.testing.assert_allclose(samples(heat), golden["keypoints"], rtol=0, atol=6e-7)
    np.testing.assert_allclose(samples(distances), golden["wh"], rtol=0, atol=2e-3)
    assert heat.sum(dtype=float) == pytest.approx(golden["keypointsSum"], rel=1e-5)
    assert distances.sum(dtype=float) == pytest.approx(golden["whSum"], rel=1e-5)


def test_pictures_of_a_batch_do_not_touch_each_other(session):
    """A picture among others has the tensors that it has alone."""
    together = session.run(None, {"images": np.stack([picture(seed) for seed in (0, 1, 2)])})
    for seed in (0, 1, 2):
        for whole, single in zip(
            together, session.run(None, {"images": picture(seed)[None]}), strict=True
        ):
            np.testing.assert_allclose(whole[seed], single[0], rtol=1e-5, atol=1e-3)
