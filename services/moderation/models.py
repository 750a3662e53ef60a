"""The models that policies can read: one row each, and nothing else to change for a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError, Message

from services.client.mesh import MeshClient
from services.moderation.policy import Vocabulary
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.detection.v1.detection_pb2 import DetectionResult
from visionmesh.logo.v1.logo_pb2 import LogoResult
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult
from visionmesh.ocr.v1.ocr_pb2 import OcrResult


class Ask(Protocol):
    """One call about many images.

    With a `model_version` the results are that version's. Every model service's outcome message has
    the fields `digest`, `model_version`, `image_size`, and either `result` or `error`.
    """

    async def __call__(
        self, mesh: MeshClient, images: Sequence[ImageRef], /, *, model_version: str = ""
    ) -> Sequence[Any]: ...


@dataclass(frozen=True)
class ModelSource:
    """How one model is asked, and how its answers are read.

    `check` raises ValueError for a result that breaks the model's promise. Conditions would not
    notice: every comparison with NaN is false, which no rule that rejects by a threshold survives.
    """

    name: str
    result_type: type[Message]
    ask: Ask
    check: Callable[[Any], None]
    may_be_empty: bool = False
    """Whether no bytes at all are a result: the one that nothing was found."""

    def decode(self, data: bytes) -> Message:
        """The result of its stored form. Raises ValueError when it is none."""
        if (
            not data and not self.may_be_empty
        ):  # a valid protobuf message: the one that says nothing, and scores 0
            raise ValueError("is empty")
        try:
            result = self.result_type.FromString(data)
        except DecodeError as error:
            raise ValueError(str(error)) from error
        self.check(result)
        return result

    def check_stored(self, data: bytes) -> None:
        """Raises ValueError for what `decode` would not read."""
        self.decode(data)


def _probability(result: NsfwResult) -> None:
    if not 0.0 <= result.score <= 1.0:
        raise ValueError(f"the score {result.score} is no probability")


def _detections(result: DetectionResult) -> None:
    _scores(found.score for found in result.detections)


def _lines(result: OcrResult) -> None:
    _scores(line.score for line in result.lines)


def _logos(result: LogoResult) -> None:
    _scores(logo.score for logo in result.logos)


def _scores(scores: Iterable[float]) -> None:
    for score in scores:
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"the score {score} is none")


MODELS: Final[Mapping[str, ModelSource]] = {
    source.name: source
    for source in (
        ModelSource("nsfw", NsfwResult, MeshClient.classify, _probability),
        ModelSource("detection", DetectionResult, MeshClient.detect, _detections, True),
        ModelSource("ocr", OcrResult, MeshClient.read, _lines, True),
        ModelSource("logo", LogoResult, MeshClient.recognize, _logos, True),
    )
}


def vocabulary(models: Mapping[str, ModelSource]) -> Vocabulary:
    """What policies may read: the models' result types by name."""
    return {name: source.result_type for name, source in models.items()}
