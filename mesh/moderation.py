"""Many images through the mesh: upload, moderate, one row each in the order they came."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mesh.errors import InvalidOption
from mesh.sources import Source
from services.client.mesh import MeshClient
from services.errors import InvalidArgument, PolicyNotFound, Unauthenticated, VisionmeshError
from services.rest import views
from services.serving import status, tracing
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import Decision, ModerationOutcome, Verdict

WINDOW: Final = 8
"""Rows that may wait for an earlier one, as a multiple of the images in flight."""


Annotate = Callable[[int, bytes, str, Verdict], Awaitable[Path]]
"""Leaves a picture of the image that came as the so manieth, of its bytes, id and verdict."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image: a verdict, or an error. `trace_id` finds it in the mesh's logs.

    `annotated` is where its picture is, when one was asked for.
    """

    file: str
    digest: str
    duration_ms: float
    trace_id: str
    result: ModerationOutcome | VisionmeshError
    annotated: Path | None = None

    @property
    def decision(self) -> str:
        """APPROVED, REJECTED or UNDETERMINED; FAILED when there is no verdict."""
        if isinstance(self.result, VisionmeshError):
            return "FAILED"
        return Decision.Name(self.result.verdict.decision).removeprefix("DECISION_")

    @property
    def score(self) -> float | None:
        """The highest score among the reasons' evidence, None when there is none."""
        if isinstance(self.result, VisionmeshError):
            return None
        reasons = self.result.verdict.reasons
        scores = [each.score for r in reasons for each in r.evidence if each.HasField("score")]
        return max(scores, default=None)


async def moderate(
    client: MeshClient,
    sources: Iterable[Source],
    policy: str = "",
    *,
    concurrency: int,
    annotate: Annotate | None = None,
) -> AsyncGenerator[Row, None]:
    """One row for each source, in their order; up to `concurrency` images are on their way.

    `annotate` is called for each image that has a verdict; what it raises ends all but a
    VisionmeshError, which is the row of one image.

    Raises InvalidOption when there is no such policy or the key is not a good one: none of them
    would get a verdict. Everything else that goes wrong is the row of one image.
    """
    slots = asyncio.Semaphore(concurrency)
    tasks: deque[asyncio.Task[Row]] = deque()
    try:
        for number, source in enumerate(sources):
            if len(tasks) >= concurrency * WINDOW:
                yield await tasks.popleft()
            call = _Call(number, source, policy, annotate)
            tasks.append(asyncio.create_task(_row(client, call, slots)))
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Call:
    """One image on its way."""

    number: int
    source: Source
    policy: str
    annotate: Annotate | None


async def _row(client: MeshClient, call: _Call, slots: asyncio.Semaphore) -> Row:
    source, policy = call.source, call.policy
    async with slots:
        tracing.adopt(None)  # each image is a trace of its own
        started = time.perf_counter()
        digest, annotated = "", None
        result: ModerationOutcome | VisionmeshError
        try:
            data = await asyncio.to_thread(source.read)
            digest = (await client.create_image(data)).image.digest
            [result] = await client.moderate([ImageRef(digest=digest)], policy)
            if result.HasField("error"):
                raise status.from_status(result.error)
            duration_ms = 1000 * (time.perf_counter() - started)
            if call.annotate:
                annotated = await call.annotate(call.number, data, digest, result.verdict)
        except VisionmeshError as error:
            if isinstance(error, Unauthenticated):
                raise InvalidOption(f"--key: {error.message}") from error
            if isinstance(error, PolicyNotFound) or _about_policy(error):
                raise InvalidOption(f"--policy {policy}: {error.message}") from error
            result = error
            duration_ms = 1000 * (time.perf_counter() - started)
        return Row(source.label, digest, duration_ms, tracing.trace_id(), result, annotated)


def as_json(row: Row) -> dict[str, Any]:
    """A row as the object that `--json` prints: REST's verdict, or an error with REST's names."""
    if isinstance(row.result, VisionmeshError):
        said = {"imageId": row.digest or None, "error": _error(row.result)}
    else:
        said = views.moderation(row.result)
    if row.annotated:
        said["annotated"] = str(row.annotated)
    return {
        "file": row.file,
        **said,
        "durationMs": round(row.duration_ms, 1),
        "traceId": row.trace_id,
    }


def _error(error: VisionmeshError) -> dict[str, str]:
    """With the members of a problem that say something here."""
    known = {
        "code": error.code,
        "detail": error.message,
        "field": error.field,
        "limit": error.limit,
    }
    return {key: value for key, value in known.items() if value}


def _about_policy(error: VisionmeshError) -> bool:
    return isinstance(error, InvalidArgument) and error.field == "policy"
