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

WAITING: Final = 10_000
"""Entries that may wait for a commit; those of callers that have left are among them."""

CLOSE_S: Final = 2.0
"""How long the end of the process waits for a commit that has begun (a guess)."""

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
        if self._inbox.waiting >= WAITING:
            raise AuditUnavailable("the audit log does not answer")
        try:
            async with asyncio.timeout(deadline.for_callees_s(PATIENCE_S)):
                await self._inbox.add(entries)
        except TimeoutError:
            raise AuditUnavailable("the audit log does not answer") from None

    def ailment(self) -> str | None:
        late = self._database.writing.is_late
        said = []
        if database_says := "database does not answer" if late else self._database_says:
            waiting = self._spool.waiting
            earlier = f", {waiting} earlier entries wait" if waiting else ""
            said.append(f"no verdicts are given, {database_says}{earlier}")
        if aside := self._spool.aside:
            said.append(aside)
        return "; ".join(said) or None

    def close(self) -> bool:
        self._inbox.close()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            _log.error("audit log not closed", error=self.ailment())
            return False
        self._spool.close()
        return True

    def _run(self) -> None:
        adopt(self._spool)
        more = True
        while not self._inbox.closed:
            batches = self._inbox.take(self._pause_s(more))
            entries = [entry for batch in batches for entry in batch.wanted]
            if self._inbox.closed and not entries:
                return
            failure = None
            refused: list[Entry] = []
            try:
                if self._database_says != "":
                    self._database.check()
                refused = self._database.insert(entries)
                self._database_says = ""
            except AuditUnavailable as error:
                self._complain(cause(error))
                failure = error.message
            except Exception:
                _log.exception("audit entries not committed")
                self._complain("internal error")
                failure = "the audit log is not available"
            for batch in batches:
                batch.release(failure, refused)
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
        except Exception:
            _log.exception("audit entries not taken over")
            self._complain("internal error")
        return True

    def _complain(self, message: str) -> None:
        if not self._database_says:
            _log.error("audit database not available", error=message)
        self._database_says = message
