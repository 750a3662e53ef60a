"""The way from image references to results that every model service shares.

For each reference: are inline bytes the ones that the digest names? does the tenant have the
image? is its result known, or on its way? else what the model reads of it goes to the model, once
for everybody who asks, and the result is kept. One outcome for each reference, in the same order,
before the deadline.

A model may have a derived step behind it: what it makes is kept by itself then, and what is
answered is derived from that, for a tenant, by something that changes more often
(docs/decisions/gallery.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from services import errors
from services.errors import ImageNotFound
from services.inference import turns
from services.inference.picture import Picture, Source
from services.media.decode import inspect
from services.media.record import ImageRecord
from services.media.store import ImageStore, RenditionChanged
from services.results.envelope import Value
from services.results.flights import Flights
from services.results.keys import ResultKey
from services.results.results import Results
from services.serving import deadline, elsewhere, tenancy, timing, tracing
from services.serving.attributes import BATCH_SIZE, MODEL_NAME, MODEL_VERSION
from services.serving.diagnostics import OK, OUTCOMES, Diagnostics
from services.serving.inline import check_digest, check_inline_bytes
from services.serving.spans import ERROR_TYPE, error_type
from visionmesh.common.v1.image_pb2 import ImageRef

BATCH_CONCURRENCY: Final = 8
"""Images of one call that are worked on at once, unless the model's batches have need of more."""

R = TypeVar("R")


class Model(Protocol[R]):
    """A model as the data plane sees it."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def reads(self) -> Source:
        """What it wants to see of an image."""
        ...

    async def predict(self, picture: Picture) -> R:
        """Look at a picture; never on the event loop.

        What it raises of InvalidArgument's kind is about the image, is true for ever, and is kept.
        """
        ...

    def encode(self, result: R) -> bytes:
        """A result as its message on the wire: encoded once, and kept so."""
        ...

    def check(self, encoded: bytes) -> None:
        """Raises ValueError when stored bytes are no result of this model."""
        ...


class Step(Protocol):
    """What derives answers from what a model made, as it is for one tenant at one moment."""

    @property
    def version(self) -> str:
        """That of the answers: of the model, and of all that shapes this step."""
        ...

    async def derive(self, made: bytes, width: int, height: int) -> bytes:
        """The answer about an image of this size; never on the event loop."""
        ...

    def check(self, encoded: bytes) -> None:
        """Raises ValueError when stored bytes are no answer."""
        ...


class Derivation(Protocol):
    """How answers come out of what a model makes."""

    @property
    def version(self) -> str:
        """That of answers to a tenant who has nothing of its own."""
        ...

    async def current(self) -> Step:
        """The step as it is now for the current tenant. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reference: an encoded result, or an error.

    `width` and `height` are those of the upright original in pixels, 0 when it is not known.
    """

    digest: str
    model_version: str
    encoded: bytes | None = None
    error: Exception | None = None
    width: int = 0
    height: int = 0


class DataPlane(Generic[R]):
    """References in, outcomes out, for one model and whoever is the current tenant."""

    def __init__(
        self,
        model: Model[R],
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics | None = None,
        derivation: Derivation | None = None,
        *,
        at_once: int = BATCH_CONCURRENCY,
    ) -> None:
        """With a `derivation` the model's results are what answers are derived from.

        `at_once` images of one call are worked on at a time.
        """
        self._at_once = at_once
        self._derivation = derivation
        self._model = model
        self._images = images
        self._results = results
        self._diagnostics = diagnostics or Diagnostics()
        self._diagnostics.count("inferences", 0)
        self._visits: Flights[tuple[str, str, str], tuple[int, int, Value]] = Flights(
            lambda: self._diagnostics.count("flights.joined"), name="visit"
        )

    async def outcomes(self, refs: Sequence[ImageRef], version: str = "") -> list[Outcome]:
        """One outcome a reference, in order; at the deadline those that are finished.

        A `version` that is not served here gives stored results only. Raises Elsewhere when
        another replica may know more, ImageTooLarge when the call carries more inline bytes than
        `MAX_INLINE_BYTES`, Unauthenticated when it is for nobody, StoreUnavailable when answers are
        derived by what cannot be read; everything else that goes wrong is the outcome of one image.
        """
        turns.new_caller()
        tenant = tenancy.tenant()
        tracing.describe({BATCH_SIZE: len(refs)})
        step = await self._derivation.current() if self._derivation else None
        served = step.version if step else self._model.version
        version = version or served
        inline = check_inline_bytes(refs)
        looks = [
            _Look(tenant, ref.digest, version, version == served, step, data)
            for ref, data in zip(refs, inline, strict=True)
        ]
        outcomes = [await self._alone(looks[0])] if len(looks) == 1 else await self._batch(looks)
        for outcome in outcomes:
            code = error_type(outcome.error) if outcome.error else OK
            self._diagnostics.count(OUTCOMES + code)
        if elsewhere.possible() and any(
            isinstance(outcome.error, errors.ResultNotFound) for outcome in outcomes
        ):
            raise elsewhere.Elsewhere
        return outcomes

    async def close(self) -> None:
        """End what is being looked at for callers who have left."""
        await self._visits.close()

    async def _alone(self, look: _Look) -> Outcome:
        """One image needs no task of its own, which costs more than looking a result up."""
        try:
            async with asyncio.timeout(_budget_s()):
                return await self._outcome(look)
        except TimeoutError:
            return _late(look)

    async def _batch(self, looks: Sequence[_Look]) -> list[Outcome]:
        slots = asyncio.Semaphore(self._at_once)
        by_digest: dict[str, asyncio.Task[Outcome]] = {}
        tasks: list[asyncio.Task[Outcome]] = []
        for look in looks:
            task = None if look.data else by_digest.get(look.digest)
            if task is None:
                task = asyncio.create_task(self._in_turn(look, slots))
            if not look.data:
                by_digest[look.digest] = task
            tasks.append(task)
        try:
            await asyncio.wait(tasks, timeout=_budget_s())
            return [
                task.result() if task.done() else _late(look)
                for look, task in zip(looks, tasks, strict=True)
            ]
        finally:
            for task in tasks:
                task.cancel()

    async def _in_turn(self, look: _Look, slots: asyncio.Semaphore) -> Outcome:
        async with slots:
            return await self._outcome(look)

    async def _outcome(self, look: _Look) -> Outcome:
        try:
            if look.data:
                await check_digest(look.digest, look.data)
            width, height, value = await self._value(look)
        except Exception as error:
            tracing.event("outcome.failed", {ERROR_TYPE: error_type(error)})
            return Outcome(look.digest, look.version, error=error)
        if isinstance(value, bytes):
            return Outcome(look.digest, look.version, value, None, width, height)
        return Outcome(look.digest, look.version, None, value, width, height)

    async def _value(self, look: _Look) -> tuple[int, int, Value]:
        """Width, height, and what is known. Inline bytes need not be in the store."""
        try:
            record = await self._images.get(look.tenant, look.digest)
        except ImageNotFound:
            if not look.data:
                raise
            return await self._visit(look)
        key = ResultKey(look.digest, self._model.name, look.version)
        value = self._results.remembered(key)
        if value is None:
            try:
                value = await self._found_or_made(look, key, record)
            except ImageNotFound:
                # The flight may have found it deleted before this tenant stored it.
                record = await self._images.get(look.tenant, look.digest)
                value = await self._found_or_made(look, key, record)
            # Time has passed: what was deleted meanwhile is not answered any more.
            await self._images.still(look.tenant, look.digest)
        return record.width, record.height, value

    async def _found_or_made(self, look: _Look, key: ResultKey, record: ImageRecord) -> Value:
        if not look.served:
            value = await self._results.get(key)
            if value is None:
                raise _not_stored()
            return value
        if step := look.step:
            return await self._results.obtain(key, lambda: self._derive(record, step), step.check)
        return await self._results.obtain(key, lambda: self._make(record), self._model.check)

    async def _make(self, record: ImageRecord) -> Value:
        """Ask the model, for everybody who waits. Raises ImageNotFound when the image is gone."""
        with deadline.lifted():
            if self._model.reads == "original":
                source = await self._images.original_for_thread(record)
                value = await self._predict(Picture(source, record.width, record.height))
            else:
                value = await self._predict_rendition(record)
        await self._check_kept(record)
        return value

    async def _derive(self, record: ImageRecord, step: Step) -> Value:
        """Derive an answer from what the model made, for everybody who waits for it."""
        model = self._model
        # Under a name that no answer has: what a model made must not be taken for an answer.
        key = ResultKey(record.digest, made_name(model.name), model.version)
        with deadline.lifted():
            made = await self._results.obtain(key, lambda: self._make(record), model.check)
            value = await self._derived(made, step, record.width, record.height)
        await self._check_kept(record)
        return value

    async def _check_kept(self, record: ImageRecord) -> None:
        """Looked at last, right before a result is kept: nothing of a deleted image may be."""
        if not await self._images.exists(record.digest):
            raise errors.ImageNotFound(f"there is no image {record.digest}", field="digest")

    async def _predict_rendition(self, record: ImageRecord) -> Value:
        source = await self._images.rendition_for_thread(record)
        try:
            return await self._predict(Picture(source, record.width, record.height))
        except RenditionChanged:
            data = await self._images.rendition(record)
            return await self._predict(Picture(data, record.width, record.height))

    async def _visit(self, look: _Look) -> tuple[int, int, Value]:
        """Look at bytes that the tenant does not keep (docs/decisions/inline-bytes.md).

        Only with whom sent the same for the same tenant: whether others have the image, or ever
        asked about it, must not be told, not even by how long this takes.
        """
        if not look.served:
            raise _not_stored()
        visit = (look.tenant, look.digest, look.version)
        timing.note(self._model.name, timing.JOINED if visit in self._visits else timing.MADE)
        return await self._visits.join(visit, lambda: self._look_inline(look))

    async def _look_inline(self, look: _Look) -> tuple[int, int, Value]:
        tracing.describe({MODEL_NAME: self._model.name, MODEL_VERSION: look.version})
        with deadline.lifted():
            if self._model.reads == "original":
                data = look.data
                info = await asyncio.to_thread(inspect, look.data)
            else:
                info, data = await self._images.render(look.data)
            value = await self._predict(Picture(data, info.width, info.height))
            if look.step:
                value = await self._derived(value, look.step, info.width, info.height)
        return info.width, info.height, value

    async def _derived(self, made: Value, step: Step, width: int, height: int) -> Value:
        if not isinstance(made, bytes):
            return made  # nothing can be made of the image: that is the answer too
        self._diagnostics.count("derivations")
        with tracing.span("derive"):
            return await step.derive(made, width, height)

    async def _predict(self, picture: Picture) -> Value:
        self._diagnostics.count("inferences")
        try:
            return self._model.encode(await self._model.predict(picture))
        except errors.InvalidArgument as error:
            return error


@dataclass(frozen=True, slots=True)
class _Look:
    """One image of one call, and for whom it is looked at."""

    tenant: str
    digest: str
    version: str
    served: bool
    """Whether `version` is the one that is served now."""
    step: Step | None
    data: bytes


def made_name(model: str) -> str:
    """What a model's own results are called where answers are derived from them."""
    return f"{model}-made"


def _not_stored() -> errors.ResultNotFound:
    return errors.ResultNotFound(
        "no result of this version is stored, and it is not served", field="model_version"
    )


def _late(look: _Look) -> Outcome:
    error = errors.DeadlineExceeded("no result within the deadline")
    tracing.event("outcome.failed", {ERROR_TYPE: error.code})
    return Outcome(look.digest, look.version, error=error)


def _budget_s() -> float | None:
    """Seconds until an answer must leave: before the wire deadline, which would lose the batch."""
    remaining = deadline.remaining_s()
    return None if remaining is None else max(0.0, remaining - deadline.reserve_s(remaining))
