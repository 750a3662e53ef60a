"""The audit log's database: SQLite or PostgreSQL through one set of statements."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import structlog
from alembic.util.exc import CommandError
from google.protobuf.message import DecodeError
from sqlalchemy.dialects import postgresql, sqlite

from services import errors
from services.audit.engine import engine_of, file_of
from services.audit.entry import Entry
from services.audit.migrate import upgrade
from services.audit.schema import ENTRIES, row
from services.audit.watch import Watch

STREAM_ROWS: Final = 1000

_PARTS: Final = (
    ENTRIES.c.id,
    ENTRIES.c.tenant,
    ENTRIES.c.digest,
    ENTRIES.c.trace_id,
    ENTRIES.c.verdict,
)

_log = structlog.get_logger()


class _Unfit(Exception):
    """Among the entries is one that the database will never take, however well it is."""


class Database:
    """Rows in and out. Every method blocks, and may be called from any thread.

    Nothing is opened before it is needed; then the tables are brought up to date. Every method but
    `close` raises AuditUnavailable when the database fails: its `__cause__` says why.
    """

    def __init__(self, at: str | Path) -> None:
        """`at` is a file, or a URL. Raises InvalidArgument when it is no URL that is known."""
        self._engine = engine_of(at)
        self._readers = self._engine.execution_options(reads=True)
        self._file = file_of(self._engine)
        self._opening = threading.Lock()
        self._identity: tuple[int, int] | None = None
        self._ready = False
        self.writing = Watch()

    def check(self) -> None:
        """Raise AuditUnavailable when entries could not be committed at this moment."""
        with self.writing.on(), self._translated(), self._engine.begin() as connection:
            connection.execute(sa.select(1))

    def insert(self, entries: Sequence[Entry]) -> list[Entry]:
        """Commit entries; those that are there already are left as they are.

        Returns those that can never be: all others are committed, in a few transactions then.
        """
        if not entries:
            return []
        try:
            self._commit(entries)
        except _Unfit as error:
            if len(entries) == 1:
                _log.error("audit entry refused", entry=entries[0].id, error=str(error))
                return list(entries)
            middle = len(entries) // 2
            return [*self.insert(entries[:middle]), *self.insert(entries[middle:])]
        return []

    def _commit(self, entries: Sequence[Entry]) -> None:
        """In one transaction. Raises _Unfit when it is an entry's fault that this is not done."""
        try:
            rows = [row(entry) for entry in entries]
        except (DecodeError, ValueError) as error:
            raise _Unfit(str(error)) from error
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement = insert(ENTRIES).on_conflict_do_nothing(index_elements=["id"])
        try:
            with self.writing.on(), self._translated(), self._engine.begin() as connection:
                connection.execute(statement, rows)
        except errors.AuditUnavailable as error:
            if isinstance(error.__cause__, sa.exc.DataError | sa.exc.IntegrityError):
                raise _Unfit(cause(error)) from error
            raise

    def find(self, tenant: str, ids: Sequence[str]) -> list[Entry]:
        """A tenant's entries with these ids, those that there are, in no promised order."""
        return self._read(_where(tenant, "").where(ENTRIES.c.id.in_(ids)))

    def page(self, tenant: str, count: int, before: str = "", digest: str = "") -> list[Entry]:
        """At most `count` of a tenant's entries, newest first, those older than `before`."""
        statement = _where(tenant, digest).order_by(ENTRIES.c.id.desc()).limit(count)
        if before:
            statement = statement.where(ENTRIES.c.id < before)
        return self._read(statement)

    def stream(self, tenant: str = "", since: str = "", until: str = "") -> Iterator[Entry]:
        """All entries, oldest first, of one tenant where it is given; ids from `since` to `until`.

        `until` is left out itself. Takes the memory of `STREAM_ROWS` entries.
        """
        last = ""
        while True:
            statement = _where(tenant, "").order_by(ENTRIES.c.id).limit(STREAM_ROWS)
            if until:
                statement = statement.where(ENTRIES.c.id < until)
            after = ENTRIES.c.id > last if last else ENTRIES.c.id >= since
            found = self._read(statement.where(after))
            yield from found
            if len(found) < STREAM_ROWS:
                return
            last = found[-1].id

    def close(self) -> None:
        self._engine.dispose()

    def _read(self, statement: sa.Select[Any]) -> list[Entry]:
        with self._translated(), self._readers.connect() as connection:
            return [Entry(*found) for found in connection.execute(statement)]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The one place where the driver's errors become ours."""
        try:
            self._open()
            yield
        except (sa.exc.SQLAlchemyError, CommandError, OSError) as error:
            self._ready = False  # it may come back as another one, without its tables
            raise errors.AuditUnavailable("the audit log is not available") from error

    def _open(self) -> None:
        """Bring the tables up to date, once, and again when the file is not the same any more.

        A file that was removed would go on taking entries, that nobody could ever read.
        """
        with self._opening:
            if self._ready and self._identity == self._found():
                return
            self._ready = False
            if self._file:
                self._engine.dispose()  # a server's connections are looked at before each use
                self._file.parent.mkdir(parents=True, exist_ok=True)
            upgrade(self._engine)
            self._identity = self._found()
            self._ready = True

    def _found(self) -> tuple[int, int] | None:
        """Which file it is; None where it is none, or not there."""
        try:
            found = self._file.stat() if self._file else None
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino) if found else None


def cause(error: errors.AuditUnavailable) -> str:
    """What a database said, in a few words for an operator."""
    said: BaseException = error.__cause__ or error
    if isinstance(said, sa.exc.DBAPIError) and said.orig:
        said = said.orig
    lines = str(said).strip().splitlines() or [type(said).__name__]
    return lines[0]


def _where(tenant: str, digest: str) -> sa.Select[Any]:
    statement = sa.select(*_PARTS)
    if tenant:
        statement = statement.where(ENTRIES.c.tenant == tenant)
    if digest:
        statement = statement.where(ENTRIES.c.digest == digest)
    return statement
