"""The way from image references to results that every model service shares.

For each reference: are inline bytes the ones that the digest names? is the image there? is its
result stored? else its rendition goes to the model and the result is stored. One outcome for each
reference, in the same order, before the deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

import structlog

from services import errors
from services.errors import ImageNotFound, StoreUnavailable, VisionmeshError
from services.media.store import ImageStore
from services.results.keys import ResultKey
from services.results.store import ResultStore
from services.serving import deadline
from services.serving.inline import check_digest, check_inline_bytes
from visionmesh.common.v1.image_pb2 import ImageRef

BATCH_CONCURRENCY: Final = 8
"""Images of one call that are worked on at once: a big batch leaves room for single calls."""

R = TypeVar("R")

_log = structlog.get_logger()


class Model(Protocol[R]):
    """A model as the data plane sees it."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def predict(self, rendition: bytes) -> R:
        """Look at an encoded upright rendition; never on the event loop."""
        ...

    def encode(self, result: R) -> bytes:
        """The form in which a result is stored."""
        ...

    def decode(self, data: bytes) -> R:
        """The result of a stored form. Raises ValueError when it is none."""
        ...


class Origin(Enum):
    """Where a result came from."""

    INFERENCE = "inference"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one reference: a result, or an error.

    `width` and `height` are those of the upright original in pixels, 0 when it is not known.
    """

    digest: str
    model_version: str
    result: R | None = None
    error: Exception | None = None
    width: int = 0
    height: int = 0
    origin: Origin = Origin.INFERENCE


class DataPlane(Generic[R]):
    """References in, outcomes out, for one model."""

    def __init__(self, model: Model[R], images: ImageStore, results: ResultStore) -> None:
        self._model = model
        self._images = images
        self._results = results

    async def outcomes(self, refs: Sequence[ImageRef]) -> list[Outcome[R]]:
        """One outcome a reference, in order; at the deadline those that are finished.

        A digest that is named twice without bytes is looked at once. Raises ImageTooLarge when the
        call carries more inline bytes than `MAX_INLINE_BYTES`; everything else that goes wrong is
        the outcome of one image.
        """
        inline = check_inline_bytes(refs)
        slots = asyncio.Semaphore(BATCH_CONCURRENCY)
        by_digest: dict[str, asyncio.Task[Outcome[R]]] = {}
        tasks: list[asyncio.Task[Outcome[R]]] = []
        for ref, data in zip(refs, inline, strict=True):
            task = None if data else by_digest.get(ref.digest)
            if task is None:
                task = asyncio.create_task(self._outcome(ref.digest, data, slots))
            if not data:
                by_digest[ref.digest] = task
            tasks.append(task)
        try:
            await asyncio.wait(tasks, timeout=_budget_s())
            return [self._finished(ref.digest, task) for ref, task in zip(refs, tasks, strict=True)]
        finally:
            for task in tasks:
                task.cancel()

    def _finished(self, digest: str, task: asyncio.Task[Outcome[R]]) -> Outcome[R]:
        if task.done():
            return task.result()
        error = errors.DeadlineExceeded("no result within the deadline")
        return Outcome(digest, self._model.version, error=error)

    async def _outcome(self, digest: str, data: bytes, slots: asyncio.Semaphore) -> Outcome[R]:
        async with slots:
            try:
                if data:
                    await check_digest(digest, data)
                return await self._look(digest, data)
            except Exception as error:
                return Outcome(digest, self._model.version, error=error)

    async def _look(self, digest: str, data: bytes) -> Outcome[R]:
        """The stored result of an image, or a new one. Inline bytes need not be in the store."""
        model = self._model
        try:
            record = await self._images.get(digest)
        except ImageNotFound:
            if not data:
                raise
            return await self._look_inline(digest, data)
        key = ResultKey(digest, model.name, model.version)
        result, origin = await self._stored(key), Origin.STORED
        if result is None:
            result = await model.predict(await self._images.rendition(record))
            origin = Origin.INFERENCE
            await self._publish(key, result)
        return Outcome(digest, model.version, result, None, record.width, record.height, origin)

    async def _look_inline(self, digest: str, data: bytes) -> Outcome[R]:
        info, rendition = await self._images.render(data)
        result = await self._model.predict(rendition)
        return Outcome(digest, self._model.version, result, None, info.width, info.height)

    async def _stored(self, key: ResultKey) -> R | None:
        """A stored result; a store that fails or holds garbage costs an inference, no answer."""
        try:
            data = await self._results.get(key)
            return None if data is None else self._model.decode(data)
        except (VisionmeshError, ValueError) as error:
            _log.warning("stored result is not readable", key=key, error=str(error))
            return None

    async def _publish(self, key: ResultKey, result: R) -> None:
        """Store a result, unless its image was deleted meanwhile. Raises ImageNotFound then.

        Looked at before, so that nothing is written in vain, and after, so that nothing is left of
        what a deletion overtook.
        """
        await self._images.get(key.digest)
        try:
            await self._results.put(key, self._model.encode(result))
        except StoreUnavailable as error:
            _log.warning("result is not stored", key=key, error=str(error))
        try:
            await self._images.get(key.digest)
        except ImageNotFound:
            await self._results.delete(key)
            raise


def _budget_s() -> float | None:
    """Seconds until an answer must leave: before the wire deadline, which would lose the batch."""
    remaining = deadline.remaining_s()
    return None if remaining is None else max(0.0, remaining - deadline.reserve_s(remaining))
