"""Entries straight into the database: a verdict waits until it has committed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Final

import structlog

from services.audit.batch import Inbox
from services.audit.database import Database, cause
from services.audit.drain import adopt, drain
from services.audit.entry import Entry
from services.audit.spool import Spool
from services.errors import AuditUnavailable
from services.serving import deadline

PATIENCE_S: Final = 2.0
"""How long a verdict waits for its commit."""

RETRY_S: Final = 1.0
"""How often a database that failed is looked at while nobody asks for a verdict."""

_log = structlog.get_logger()


class Committed:
    """One thread that commits: what is recorded while a commit lasts is the next commit.

    A spool that was left behind, by processes that did not have to wait, is taken over meanwhile.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool
        self._inbox = Inbox()
        self._database_says: str | None = None  # nothing is known yet
        self._thread = threading.Thread(target=self._run, name="audit-commit", daemon=True)
        self._thread.start()

    async def record(self, entries: Sequence[Entry]) -> None:
        """Returns when the entries are committed. Raises AuditUnavailable.

        What is not committed when it raises, or when its caller leaves, is left out, unless its
        commit has begun.
        """
        try:
            async with asyncio.timeout(deadline.for_callees_s(PATIENCE_S)):
                await self._inbox.add(entries)
        except TimeoutError:
            raise AuditUnavailable("the audit log does not answer") from None

    def ailment(self) -> str | None:
        if not self._database_says:
            return None
        waiting = self._spool.waiting
        earlier = f", {waiting} earlier entries wait" if waiting else ""
        return f"no verdicts are given, {self._database_says}{earlier}"

    def close(self) -> None:
        self._inbox.close()
        self._thread.join()
        self._spool.close()

    def _run(self) -> None:
        adopt(self._spool)
        more = True
        while not self._inbox.closed:
            batches = self._inbox.take(self._pause_s(more))
            entries = [entry for batch in batches for entry in batch.wanted]
            if self._inbox.closed and not entries:
                return
            failure = None
            try:
                if self._database_says != "":
                    self._database.check()
                self._database.insert(entries)
                self._database_says = ""
            except AuditUnavailable as error:
                self._complain(cause(error))
                failure = error.message
            except Exception:
                _log.exception("audit entries not committed")
                self._complain("internal error")
                failure = "the audit log is not available"
            for batch in batches:
                batch.release(failure)
            if more and not failure:
                more = self._drained()

    def _pause_s(self, more: bool) -> float | None:
        """How long there is nothing to do without new entries."""
        if self._database_says:
            return RETRY_S
        return 0.0 if more else None

    def _drained(self) -> bool:
        """Take over a piece of what was left behind; whether there may be more."""
        try:
            return drain(self._spool, self._database)
        except AuditUnavailable as error:
            self._complain(cause(error))
            return True

    def _complain(self, message: str) -> None:
        if not self._database_says:
            _log.error("audit database not available", error=message)
        self._database_says = message
