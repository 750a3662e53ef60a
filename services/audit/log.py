"""The audit log as moderation uses it: record what was decided, read it page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from services import errors
from services.audit import cursor
from services.audit.committed import Committed
from services.audit.database import Database
from services.audit.entry import Entry, Ids, without_text
from services.audit.queued import Queued
from services.audit.readers import Readers
from services.audit.spool import Spool
from services.serving.diagnostics import Diagnostics
from visionmesh.moderation.v1 import moderation_pb2

PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1000

COMPONENT: Final = "audit"
"""What the log is called among the conditions of a process."""


class Recorder(Protocol):
    """One way to make entries durable."""

    async def record(self, entries: Sequence[Entry]) -> None: ...

    def ailment(self) -> str | None: ...

    def close(self) -> bool:
        """Write what can be written, and end; blocks for some seconds at most.

        False when a disk or the database does not answer: a thread waits for it then.
        """


class AuditLog:
    """Every verdict that was given, appended to a database.

    By default `record` returns when the entries are in a file beside the database (the spool),
    which survives the process; a thread takes them over, at once or when the database is back.
    With `required` it returns when the database has committed. docs/audit.md says what each is
    worth.
    """

    def __init__(self, recorder: Recorder, database: Database) -> None:
        self._recorder = recorder
        self._database = database
        self._ids = Ids()
        self._readers = Readers()

    @classmethod
    def open(
        cls,
        url: str,
        data_dir: Path,
        required: bool,
        name: str,
        diagnostics: Diagnostics | None = None,
    ) -> AuditLog:
        """The log in the database at `url` (empty: SQLite, `audit.db` in `data_dir`).

        Waits for nothing: a database that is not there yet is a condition of `diagnostics`. `name`
        is this replica's own. Raises InvalidArgument when `url` names no database that is known.
        """
        diagnostics = diagnostics or Diagnostics()
        database = Database(url or data_dir / "audit.db")
        spool = Spool(data_dir / "audit", name)
        recorder: Recorder = (
            Committed(database, spool) if required else Queued(database, spool, diagnostics)
        )
        diagnostics.watch(COMPONENT, recorder.ailment)
        return cls(recorder, database)

    async def record(
        self,
        tenant: str,
        verdicts: Sequence[tuple[str, moderation_pb2.Verdict]],
        trace_id: str,
    ) -> None:
        """Append the verdicts of one call, each with its image's digest and without its text.

        By default this never fails and waits for no database. Where the log is required, raises
        AuditUnavailable when the entries are not committed within moments: then no verdict may be
        given.
        """
        if not verdicts:
            return
        await self._recorder.record(
            [
                Entry(
                    self._ids.next(),
                    tenant,
                    digest,
                    trace_id,
                    without_text(verdict).SerializeToString(),
                )
                for digest, verdict in verdicts
            ]
        )

    async def confirm(self, tenant: str, request: moderation_pb2.EvaluateRequest) -> None:
        """Make sure that what a call asks for again is on record, for its tenant.

        Each of `replays` must be an entry of its image, policy and release, without the same
        models. Raises InvalidArgument, AuditUnavailable.
        """
        if len(request.replays) != len(request.digests):
            raise errors.InvalidArgument(
                f"replays: must be one a digest, {len(request.digests)}", field="replays"
            )
        find = partial(self._database.find, tenant, list(request.replays))
        found = {entry.id: entry for entry in await self._readers.run(find)}
        for index, (name, digest) in enumerate(zip(request.replays, request.digests, strict=True)):
            entry = found.get(name)
            if entry is None or entry.digest != digest or not _asks_for(request, entry.message):
                raise errors.InvalidArgument(
                    f"replays[{index}]: is no entry with this image, policy, release and without "
                    "exactly these models",
                    field=f"replays[{index}]",
                )

    async def page(
        self, tenant: str, page_size: int = 0, page_token: str = "", digest: str = ""
    ) -> moderation_pb2.ListAuditEntriesResponse:
        """A tenant's entries, newest first, of one image when `digest` is given.

        Those that are recorded meanwhile are on no later page. Entries that wait in the spool are
        not here yet. Raises InvalidArgument, AuditUnavailable.
        """
        if not 0 <= page_size <= MAX_PAGE_SIZE:
            raise errors.InvalidArgument(
                f"page_size: must be from 0 to {MAX_PAGE_SIZE}",
                field="page_size",
                limit=str(MAX_PAGE_SIZE),
            )
        size = page_size or PAGE_SIZE
        before = cursor.last_id(page_token, tenant, digest) if page_token else ""
        return await self._readers.run(partial(self._page, tenant, size, before, digest))

    def _page(
        self, tenant: str, size: int, before: str, digest: str
    ) -> moderation_pb2.ListAuditEntriesResponse:
        # One more than asked for says whether there is a next page.
        found = self._database.page(tenant, size + 1, before, digest)
        more = cursor.token(found[size - 1].id, tenant, digest) if len(found) > size else ""
        return moderation_pb2.ListAuditEntriesResponse(
            entries=[to_proto(entry) for entry in found[:size]], next_page_token=more
        )

    async def close(self) -> None:
        """Write what waits, as far as that is possible within some seconds."""
        await self._readers.close()
        if await asyncio.to_thread(self._recorder.close):
            await asyncio.to_thread(self._database.close)


def _asks_for(request: moderation_pb2.EvaluateRequest, verdict: moderation_pb2.Verdict) -> bool:
    """Whether a call asks for a verdict again by all that made it."""
    return (
        request.policy == verdict.policy
        and request.release == verdict.release
        and set(request.without) == set(verdict.missing)
    )


def to_proto(entry: Entry) -> moderation_pb2.AuditEntry:
    """An entry as the contract has it."""
    recorded_at = Timestamp()
    recorded_at.FromDatetime(entry.recorded_at)
    return moderation_pb2.AuditEntry(
        id=entry.id,
        recorded_at=recorded_at,
        digest=entry.digest,
        verdict=entry.message,
        trace_id=entry.trace_id,
    )
