"""What a verdict of the packaged policy costs in CPU: no text, prose, a catalogue's page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from services.moderation.evaluate import evaluate
from services.moderation.models import MODELS, vocabulary
from services.moderation.policy import load_policy
from services.moderation.settings import PACKAGED_POLICIES
from services.moderation.text.contacts import contacts
from services.moderation.types import Answer
from visionmesh.detection.v1.detection_pb2 import DetectionResult
from visionmesh.logo.v1.logo_pb2 import LogoResult
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult
from visionmesh.ocr.v1.ocr_pb2 import OcrResult

LINES: Final = 200
OBJECTS: Final = 100
RUNS: Final = 20

PAGES: Final[Mapping[str, Sequence[str]]] = {
    "no text": [],
    "200 lines of prose": ["The quick brown fox jumps over the lazy dog and goes home"] * LINES,
    "200 lines of a catalogue": ["Art.-Nr. 0171234567", "1.299,00 EUR VB", "Size: 38/40/42"] * 66
    + ["IMG_20240512.jpg", "12.05.2024"],
    "200 lines of contact details": ["Call 0171-2345678", "jane (at) my-shop dot de"]
    * (LINES // 2),
}


def main() -> None:
    path = PACKAGED_POLICIES / "default.yaml"
    began = time.process_time()
    policy = load_policy(path, vocabulary(MODELS))
    print(f"loading the policy: {1000 * (time.process_time() - began):.0f} ms")
    for name, lines in PAGES.items():
        replies = _replies(lines)
        whole = _milliseconds(partial(evaluate, policy, replies))
        text = _milliseconds(partial(contacts, lines))
        print(f"{name}, {OBJECTS} objects: {whole:.2f} ms, of which contact details {text:.2f} ms")


def _milliseconds(call: Callable[[], object]) -> float:
    call()  # what is made once
    began = time.process_time()
    for _ in range(RUNS):
        call()
    return 1000 * (time.process_time() - began) / RUNS


def _replies(lines: Sequence[str]) -> dict[str, Answer]:
    box = {"x": 1, "y": 2, "width": 30, "height": 40}
    objects: list[Any] = [{"label": "cup", "score": 0.5, "box": box}] * OBJECTS
    read: list[Any] = [{"text": line, "score": 0.9, "box": box} for line in lines]
    brands: list[Any] = [{"brand": "adobe", "score": 0.9, "box": box}] * 5
    return {
        "nsfw": Answer(NsfwResult(score=0.1), "1"),
        "detection": Answer(DetectionResult(detections=objects), "1"),
        "ocr": Answer(OcrResult(lines=read), "1"),
        "logo": Answer(LogoResult(logos=brands), "1"),
    }


if __name__ == "__main__":
    main()
