"""One call for all that a request asks of one service, however many fields and aliases ask.

The arguments of a field are no part of it: they choose from the whole result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from strawberry.dataloader import DataLoader

from services import errors
from services.errors import VisionmeshError
from services.limits import MAX_BATCH_IMAGES
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef

Outcome = TypeVar("Outcome")


class OutcomeLoader(Generic[Outcome]):
    """Outcomes of one service by image id, for one request. Each id is asked for once."""

    def __init__(
        self,
        ask: Callable[[Sequence[ImageRef]], Awaitable[Sequence[Outcome]]],
    ) -> None:
        """`ask` gives one outcome a reference, in order; it raises for the whole call."""
        self._ask = ask
        self._loader: DataLoader[str, Outcome] = DataLoader(
            self._load, max_batch_size=MAX_BATCH_IMAGES
        )

    async def load(self, image_id: str) -> Outcome:
        """The outcome of one image. Raises the domain error that the image or the call met."""
        return await self._loader.load(image_id)

    async def _load(self, ids: list[str]) -> Sequence[Outcome | BaseException]:
        try:
            outcomes = await self._ask([ImageRef(digest=image_id) for image_id in ids])
        except VisionmeshError as error:
            return [error] * len(ids)
        if len(outcomes) != len(ids):
            return [errors.Internal("internal error")] * len(ids)
        return [
            _checked(image_id, outcome) for image_id, outcome in zip(ids, outcomes, strict=True)
        ]


def _checked(image_id: str, outcome: Any) -> Any:
    """The outcome, or the error that it stands for."""
    if outcome.digest != image_id:
        return errors.Internal("internal error")
    if outcome.HasField("error"):
        return status.from_status(outcome.error)
    return outcome
