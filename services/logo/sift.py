"""SIFT (Lowe, 2004), as OpenCV has it: the features of one grey picture."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inference.engine import EngineError
from services.logo.types import Features

INPUT: Final = "grey"
POINTS: Final = "points"
DESCRIPTORS: Final = "descriptors"


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
