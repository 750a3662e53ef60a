"""Verdicts to record, and a log to record them in."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from services.audit.log import AuditLog
from services.serving.diagnostics import Diagnostics
from tests.support.whole import until
from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.moderation.v1 import moderation_pb2 as pb

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def digest(number: int) -> str:
    return f"{number:064x}"


def verdict(number: int = 0) -> pb.Verdict:
    """A verdict with something in every field that is recorded, unlike those of other numbers."""
    evidence = pb.Evidence(
        model="nsfw",
        label="nsfw",
        score=0.5 + number / 1e6,
        box=Box(x=1, y=2, width=3, height=4),
        corners=[Point(x=1, y=2), Point(x=4, y=6)],
    )
    reason = pb.Reason(
        code="NUDITY", severity=pb.SEVERITY_HIGH, message="Shows nudity.", evidence=[evidence]
    )
    return pb.Verdict(
        decision=pb.DECISION_REJECTED,
        reasons=[reason],
        missing=["ocr"],
        policy="default",
        policy_version="00112233445566ff",
        model_versions={"nsfw": "0123456789abcdef"},
        unknown_codes=["TEXT"],
        release=f"{number:016x}",
    )


@asynccontextmanager
async def opened(
    folder: Path, url: str = "", *, required: bool = False, name: str = "moderation-0"
) -> AsyncIterator[tuple[AuditLog, Diagnostics]]:
    """A log, as a process has it, and what it says ails it."""
    diagnostics = Diagnostics()
    log = AuditLog.open(url, folder, required, name, diagnostics)
    try:
        yield log, diagnostics
    finally:
        await log.close()


async def everything(log: AuditLog, tenant: str = "local", page_size: int = 1000) -> list[str]:
    """The digests of all entries, newest first, page by page."""
    found: list[str] = []
    token = ""
    while True:
        page = await log.page(tenant, page_size, token)
        found += [entry.digest for entry in page.entries]
        if not (token := page.next_page_token):
            return found


async def arrived(log: AuditLog, count: int, tenant: str = "local") -> None:
    """Wait until so many entries are in the database."""

    async def there() -> bool:
        return len(await everything(log, tenant)) >= count

    await until(there, f"{count} entries in the database")


async def says(diagnostics: Diagnostics, *words: str) -> str:
    """Wait until the log's condition has all of the words; the condition."""

    async def said() -> str | None:
        message = diagnostics.conditions.get("audit", "")
        return message if all(word in message for word in words) else None

    return await until(said, f"a condition with {words}, not {diagnostics.conditions}")


async def is_well(diagnostics: Diagnostics) -> None:
    """Wait until nothing ails the log."""

    async def well() -> bool:
        return not diagnostics.conditions

    await until(well, "no condition")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Somebody else writes to a SQLite file, and takes their time."""
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()
