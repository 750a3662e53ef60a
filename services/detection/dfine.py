"""D-FINE's way from a rendition's bytes to its tensor, and from its output to a result.

That of `transformers` (RTDetrImageProcessor, which D-FINE is published with): the picture is
stretched to the square, and of all scores of all queries the highest count. Trained to find each
object once (https://arxiv.org/abs/2410.13842), it needs no suppression.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.detection.boxes import detection, inside
from services.detection.labels import LABELS
from services.detection.types import DetectionResult, DFineParameters
from services.inference.engine import EngineOutputError, Tensors
from services.inference.picture import Picture
from services.media.decode import decode_rgb

INPUT: Final = "pixel_values"
LOGITS: Final = "logits"
BOXES: Final = "pred_boxes"

_SHARES: Final = (np.arange(256) * (1 / 255)).astype(np.float32)
"""What each of a pixel's values becomes. Looked up, not computed: the same bits, in less time."""


def prepare(picture: Picture, parameters: DFineParameters) -> Tensors:
    """The model's input for an encoded rendition. Raises CorruptImage."""
    # Decoded whole: of a rendition, hardly one is twice as long as the square on both sides, so
    # that a smaller scale would do. And so the tensor is the one that transformers makes.
    return {INPUT: preprocess(decode_rgb(picture.data), parameters)}


def preprocess(rgb: NDArray[np.uint8], parameters: DFineParameters) -> NDArray[np.float32]:
    """uint8 RGB [H, W, 3] of any size to float32 RGB [1, 3, side, side] from 0 to 1, stretched."""
    square = (parameters.side, parameters.side)
    if rgb.shape[:2] != square:
        rgb = np.asarray(Image.fromarray(rgb).resize(square, Image.Resampling.BILINEAR))
    # Contiguous, as the engine wants it: otherwise it makes a copy of its own.
    return np.take(_SHARES, np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])


def postprocess(
    outputs: Tensors, width: int, height: int, parameters: DFineParameters
) -> DetectionResult:
    """The result of an image of this size: float32 [1, queries, kinds] and [1, queries, 4].

    Raises EngineOutputError when the kinds are not the ones that are known here.
    """
    logits, boxes = outputs[LOGITS][0], outputs[BOXES][0]
    if logits.shape[1] != len(LABELS):
        raise EngineOutputError(f"output {LOGITS!r} has {logits.shape[1]} kinds")
    queries, kinds, scores = highest(logits, parameters.min_score)
    corners, has_area = inside(in_pixels(boxes[queries], width, height), width, height)
    kept = np.flatnonzero(has_area)[: parameters.max_detections]
    return DetectionResult(
        tuple(detection(int(kinds[index]), float(scores[index]), corners[index]) for index in kept)
    )


def highest(
    logits: NDArray[Any], min_score: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Query, kind and score of as many scores as there are queries, the highest first.

    Of float32 [queries, kinds]. What is not above `min_score` is left out. One query may stand for
    several kinds, as where a cat could be a dog.
    """
    queries, kinds = logits.shape
    flat = logits.ravel()
    # Partitioned before it is sorted: of 24,000 values 300 count. Back in the order of the
    # queries, so that equal scores stay in it whatever the partition did.
    top = np.sort(np.argpartition(flat, flat.size - queries)[flat.size - queries :])
    top = top[np.argsort(-flat[top], kind="stable")]
    scores = 1 / (1 + np.exp(-np.clip(flat[top].astype(np.float64), -500, 500)))
    top, scores = top[scores > min_score], scores[scores > min_score]
    return top // kinds, top % kinds, scores


def in_pixels(boxes: NDArray[Any], width: int, height: int) -> NDArray[np.float64]:
    """Boxes [n, 4] of centre, width and height as shares of the image to left, top, right, bottom
    in its pixels.
    """
    centre, size = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    corners: NDArray[np.float64] = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return corners * ([width, height] * 2)
