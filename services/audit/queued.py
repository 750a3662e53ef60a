"""Entries by way of the spool: a verdict waits for a file, never for a database."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from services.audit.batch import Batch, Inbox
from services.audit.database import Database, cause
from services.audit.drain import adopt, drain
from services.audit.entry import Entry, frame
from services.audit.spool import Spool
from services.audit.watch import Watch
from services.errors import AuditUnavailable
from services.serving.diagnostics import Diagnostics

SYNC_EVERY_S: Final = 0.1
"""How long what was recorded may be in the page cache alone."""

DRAIN_EVERY_S: Final = 0.2
"""Entries gather for so long before they are committed together."""

RETRY_S: Final = 1.0
"""How long a disk or a database that failed is left alone."""

PATIENCE_S: Final = 0.5
"""How long a verdict waits for a disk that does not answer."""

KEPT_ENTRIES: Final = 10_000
"""Entries that are kept in memory while no disk takes them, and again as many while one does not
answer; one is some 500 bytes."""

CLOSE_S: Final = 2.0
"""How long the end of the process waits for the disk, and for the database (a guess)."""

_log = structlog.get_logger()


class Queued:
    """Two threads: one writes the spool and syncs it, one takes it over into the database."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        diagnostics: Diagnostics,
        *,
        kept_entries: int = KEPT_ENTRIES,
    ) -> None:
        self._database = database
        self._spool = spool
        self._diagnostics = diagnostics
        self._kept_entries = kept_entries
        self._inbox = Inbox(_be_patient)
        # What no disk has taken. Both threads change it, under the lock.
        self._kept: list[Entry] = []
        self._keeping = threading.Lock()
        self._disk_says = ""
        self._writing = Watch()
        self._retry_at = 0.0
        self._sync_at: float | None = None
        self._database_says: str | None = None  # nothing is known yet
        self._lost = 0
        diagnostics.count("audit.lost", 0)
        self._written = threading.Event()
        self._closing = threading.Event()
        self._over_at = math.inf
        self._writer = threading.Thread(target=self._write, name="audit-spool", daemon=True)
        self._drainer = threading.Thread(target=self._drain, name="audit-drain", daemon=True)
        self._writer.start()
        self._drainer.start()

    async def record(self, entries: Sequence[Entry]) -> None:
        """Returns when the entries are in the spool, or after `PATIENCE_S` if the disk is slow."""
        if self._inbox.waiting >= self._kept_entries:
            self._lose(entries)
            return
        await self._inbox.add(entries)

    def ailment(self) -> str | None:
        with self._keeping:
            kept = len(self._kept)
        late = self._database.writing.is_late
        database_says = "database does not answer" if late else self._database_says
        disk_says = self._disk_says
        if self._writing.is_late:
            kept, disk_says = kept + self._inbox.waiting, "disk does not answer"
        said = []
        if database_says:
            said.append(f"{_entries(self._spool.waiting + kept)} wait, {database_says}")
        if disk_says:
            said.append(f"{_entries(kept)} in memory only, {disk_says}")
        if self._lost:
            said.append(f"{_entries(self._lost)} lost since the start")
        if aside := self._spool.aside:
            said.append(aside)
        return "; ".join(said) or None

    def close(self) -> bool:
        self._inbox.close()
        self._writer.join(CLOSE_S)
        self._over_at = time.monotonic() + CLOSE_S
        self._closing.set()
        self._written.set()
        self._drainer.join(CLOSE_S)
        if self._writer.is_alive() or self._drainer.is_alive():
            _log.error("audit log not closed", waiting=self._inbox.waiting, error=self.ailment())
            return False  # what the spool has is there at the next start
        self._spool.close()
        self._lose(self._kept)
        return True

    def _write(self) -> None:
        """The first thread: inbox to spool. What comes while a write lasts is the next write."""
        while not self._inbox.closed:
            batches = self._inbox.take(self._pause_s())
            self._append([entry for batch in batches for entry in batch.entries])
            for batch in batches:
                batch.release()
            if self._sync_at is not None and time.monotonic() >= self._sync_at:
                self._sync()
        self._retry_at = 0.0
        self._append([])
        self._sync()

    def _pause_s(self) -> float | None:
        """How long there is nothing to do without new entries."""
        due = [at for at in (self._sync_at, self._retry_at if self._kept else None) if at]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _append(self, entries: list[Entry]) -> None:
        with self._keeping:
            waiting = [*self._kept, *entries] if self._kept else entries
        if not waiting:
            return
        now = time.monotonic()
        if self._disk_says and now < self._retry_at:
            self._keep(entries)
            return
        try:
            frames = [frame(entry) for entry in waiting]
            with self._writing.on():
                self._spool.append(frames)
        except Exception as error:  # whatever it is: no verdict is held up by it
            self._complain(error)
            self._keep(entries)
            return
        self._disk_says = ""
        with self._keeping:
            self._kept.clear()
        self._sync_at = self._sync_at or now + SYNC_EVERY_S
        self._written.set()

    def _sync(self) -> None:
        self._sync_at = None
        try:
            with self._writing.on():
                self._spool.sync()
        except OSError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._disk_says:
            _log.error("audit spool not written", error=str(error))
        said = error.strerror if isinstance(error, OSError) else None
        self._disk_says = said.lower() if said else "internal error"
        self._retry_at = time.monotonic() + RETRY_S

    def _keep(self, entries: list[Entry]) -> None:
        """In memory, as far as there is room: the oldest ones, so that one gap is all that is lost.

        The database may take them nevertheless, on another disk.
        """
        with self._keeping:
            room = self._kept_entries - len(self._kept)
            self._kept += entries[:room]
        self._lose(entries[room:])
        self._written.set()

    def _lose(self, entries: Sequence[Entry]) -> None:
        if entries:
            with self._keeping:  # in any thread
                self._lost += len(entries)
                self._diagnostics.count("audit.lost", len(entries))
            _log.error("audit entries lost", first=entries[0].id, last=entries[-1].id)

    def _drain(self) -> None:
        """The second thread: spool to database."""
        adopt(self._spool)
        while True:
            closing = self._closing.is_set()
            self._written.clear()
            done = self._drained()
            if closing:
                return
            if done:
                self._written.wait()
            self._closing.wait(DRAIN_EVERY_S if done else RETRY_S)

    def _drained(self) -> bool:
        """Whether the database has everything now."""
        try:
            if self._database_says != "":
                self._database.check()
            while drain(self._spool, self._database):
                if time.monotonic() >= self._over_at:
                    return False
            self._drain_kept()
        except AuditUnavailable as error:
            if not self._database_says:
                _log.error("audit database not available", error=cause(error))
            self._database_says = cause(error)
            return False
        except Exception:
            _log.exception("audit entries not taken over")
            self._database_says = "internal error"
            return False
        self._database_says = ""
        return True

    def _drain_kept(self) -> None:
        with self._keeping:
            kept = list(self._kept)
        if not kept:
            return
        refused = self._database.insert(kept)
        ids = {entry.id for entry in kept}
        with self._keeping:
            self._kept[:] = [entry for entry in self._kept if entry.id not in ids]
        self._lose(refused)


def _be_patient(batch: Batch) -> None:
    batch.release_after(PATIENCE_S)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
