"""Many images through the mesh: upload, moderate, one row each in the order they came."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any, Final

from mesh.errors import InvalidOption
from mesh.sources import Source
from services.client.mesh import MeshClient
from services.errors import InvalidArgument, PolicyNotFound, VisionmeshError
from services.serving import status, tracing
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import Decision, Reason, Severity, Verdict

WINDOW: Final = 8
"""Rows that may wait for an earlier one, as a multiple of the images in flight."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image: a verdict, or an error. `trace_id` finds it in the mesh's logs."""

    file: str
    digest: str
    duration_ms: float
    trace_id: str
    verdict: Verdict | None = None
    error: VisionmeshError | None = None

    @property
    def decision(self) -> str:
        """APPROVED, REJECTED or UNDETERMINED; FAILED when there is no verdict."""
        return _word(Decision, self.verdict.decision) if self.verdict else "FAILED"

    @property
    def score(self) -> float | None:
        """The highest score among the reasons' evidence, None when there is none."""
        reasons = self.verdict.reasons if self.verdict else ()
        scores = [each.score for r in reasons for each in r.evidence if each.HasField("score")]
        return max(scores, default=None)


async def moderate(
    client: MeshClient, sources: Iterable[Source], policy: str = "", *, concurrency: int
) -> AsyncGenerator[Row, None]:
    """One row for each source, in their order; up to `concurrency` images are on their way.

    Raises InvalidOption when there is no such policy: none of them would get a verdict. Everything
    else that goes wrong is the row of one image.
    """
    slots = asyncio.Semaphore(concurrency)
    tasks: deque[asyncio.Task[Row]] = deque()
    try:
        for source in sources:
            if len(tasks) >= concurrency * WINDOW:
                yield await tasks.popleft()
            tasks.append(asyncio.create_task(_row(client, source, policy, slots)))
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _row(client: MeshClient, source: Source, policy: str, slots: asyncio.Semaphore) -> Row:
    async with slots:
        tracing.adopt(None)  # each image is a trace of its own
        started = time.perf_counter()
        digest = ""
        verdict: Verdict | None = None
        failure: VisionmeshError | None = None
        try:
            data = await asyncio.to_thread(source.read)
            digest = (await client.create_image(data)).image.digest
            [outcome] = await client.moderate([ImageRef(digest=digest)], policy)
            if outcome.HasField("error"):
                raise status.from_status(outcome.error)
            verdict = outcome.verdict
        except VisionmeshError as error:
            if isinstance(error, PolicyNotFound) or _about_policy(error):
                raise InvalidOption(f"--policy {policy}: {error.message}") from error
            failure = error
        duration_ms = 1000 * (time.perf_counter() - started)
        return Row(source.label, digest, duration_ms, tracing.trace_id(), verdict, failure)


def as_json(row: Row) -> dict[str, Any]:
    """A row as the object that `--json` prints, with REST's names."""
    known: dict[str, Any] = {"file": row.file, "digest": row.digest or None}
    if row.verdict is not None:
        known |= _verdict(row.verdict)
    if row.error is not None:
        named = {"field": row.error.field, "limit": row.error.limit}
        known["error"] = {
            "code": row.error.code,
            "message": row.error.message,
            **{key: value for key, value in named.items() if value},
        }
    return {**known, "durationMs": round(row.duration_ms, 1), "traceId": row.trace_id}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    compliant = {Decision.DECISION_APPROVED: True, Decision.DECISION_REJECTED: False}
    return {
        "decision": _word(Decision, verdict.decision),
        "isCompliant": compliant.get(verdict.decision),
        "reasons": [_reason(reason) for reason in verdict.reasons],
        "missing": list(verdict.missing),
        "unknownCodes": list(verdict.unknown_codes),
        "policy": verdict.policy,
        "policyVersion": verdict.policy_version,
        "modelVersions": dict(sorted(verdict.model_versions.items())),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "severity": _word(Severity, reason.severity),
        "message": reason.message,
        "evidence": [
            {
                "model": each.model,
                "label": each.label,
                "score": each.score if each.HasField("score") else None,
            }
            for each in reason.evidence
        ],
    }


def _word(enum: Any, value: int) -> str:
    """`APPROVED` for DECISION_APPROVED."""
    name: str = enum.Name(value)
    return name.split("_", 1)[1]


def _about_policy(error: VisionmeshError) -> bool:
    return isinstance(error, InvalidArgument) and error.field == "policy"
