"""Gives recorded verdicts again, from what is stored, and compares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final

from services.audit.entry import Entry, without_text
from services.client.mesh import MeshClient
from services.errors import ImageNotFound, VisionmeshError
from services.serving import status, tenancy
from visionmesh.moderation.v1.moderation_pb2 import Decision, ModerationOutcome, Verdict

WINDOW: Final = 256
"""Entries that are read ahead, so that those of one release are asked for in one call."""

BATCH: Final = 64

_Question = tuple[str, str, str, tuple[str, ...]]
"""Tenant, policy, release, and the models that did not answer."""


class Result(Enum):
    """What became of one entry."""

    SAME = "same"
    DIFFERENT = "different"
    DELETED = "deleted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Replay:
    """An entry and what came of it; `said` is for a person, empty when it is the same."""

    entry: Entry
    result: Result
    said: str = ""


async def replay(client: MeshClient, entries: Iterable[Entry]) -> AsyncIterator[Replay]:
    """Each entry's verdict given again, by its release and without the models it missed, in order.

    No model runs. Raises nothing of the mesh's own: it is the result of an entry.
    """
    remaining = iter(entries)
    while window := await asyncio.to_thread(lambda: list(islice(remaining, WINDOW))):
        grouped: dict[_Question, list[Entry]] = {}
        for entry in window:
            grouped.setdefault(_question(entry), []).append(entry)
        calls = [
            _ask(client, question, group[first : first + BATCH])
            for question, group in grouped.items()
            for first in range(0, len(group), BATCH)
        ]
        found = {each.entry.id: each for given in await asyncio.gather(*calls) for each in given}
        for entry in window:
            yield found[entry.id]


def _question(entry: Entry) -> _Question:
    verdict = entry.message
    return entry.tenant, verdict.policy, verdict.release, tuple(verdict.missing)


async def _ask(client: MeshClient, question: _Question, entries: list[Entry]) -> list[Replay]:
    tenant, policy, release, missing = question
    tenancy.act_for(tenant)  # in this task alone
    try:
        outcomes = await client.evaluate(
            [entry.digest for entry in entries],
            policy,
            release=release,
            without=missing,
            replays=[entry.id for entry in entries],
        )
    except VisionmeshError as error:
        return [_failed(entry, error) for entry in entries]
    return [_compared(entry, outcome) for entry, outcome in zip(entries, outcomes, strict=True)]


def _compared(entry: Entry, outcome: ModerationOutcome) -> Replay:
    if not outcome.HasField("verdict"):
        return _failed(entry, status.from_status(outcome.error))
    differences = _differences(entry.message, without_text(outcome.verdict))
    if differences:
        return Replay(entry, Result.DIFFERENT, "; ".join(differences))
    return Replay(entry, Result.SAME)


def _differences(recorded: Verdict, given: Verdict) -> list[str]:
    """What is not the same, each in a few words."""
    pairs = [
        ("decision", Decision.Name(recorded.decision), Decision.Name(given.decision)),
        ("reasons", _codes(recorded), _codes(given)),
        ("unknown codes", _words(recorded.unknown_codes), _words(given.unknown_codes)),
        ("missing", _words(recorded.missing), _words(given.missing)),
    ]
    said = [f"{name} {was}, now {now}" for name, was, now in pairs if was != now]
    if not said and list(recorded.reasons) != list(given.reasons):
        said.append("the reasons' messages or evidence")
    return said


def _codes(verdict: Verdict) -> str:
    return _words(reason.code for reason in verdict.reasons)


def _words(names: Iterable[str]) -> str:
    return ",".join(names) or "none"


def _failed(entry: Entry, error: VisionmeshError) -> Replay:
    if isinstance(error, ImageNotFound):
        return Replay(entry, Result.DELETED, "the image is not stored")
    return Replay(entry, Result.FAILED, f"{error.code}: {error.message}")
