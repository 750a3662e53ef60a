"""What a model service answers with, as far as it is the same for every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from services.serving.dataplane import Outcome
from services.serving.status import to_status
from visionmesh.common.v1.image_pb2 import ImageSize


class OutcomeMessage(Protocol):
    """The contract's outcomes: five fields of the same names, and a result of each model's own."""

    def __init__(self, *, digest: str, model_version: str) -> None: ...

    @property
    def image_size(self) -> ImageSize: ...
    @property
    def result(self) -> Any: ...
    @property
    def error(self) -> Any: ...


M = TypeVar("M", bound=OutcomeMessage)


def outcome_message(kind: type[M], outcome: Outcome, result: Callable[[bytes], Message]) -> M:
    """An outcome as a message of this kind; `result` is what is answered of a stored result."""
    message = kind(digest=outcome.digest, model_version=outcome.model_version)
    if outcome.width:
        message.image_size.CopyFrom(ImageSize(width=outcome.width, height=outcome.height))
    if outcome.encoded is not None:
        message.result.CopyFrom(result(outcome.encoded))
        message.result.SetInParent()  # one without content has to be said aloud
    else:
        error = outcome.error or RuntimeError("an outcome with neither result nor error")
        message.error.CopyFrom(to_status(error))
    return message
