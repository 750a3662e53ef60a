"""Connections to the databases that the audit log can be in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from services import errors

BUSY_S: Final = 1
"""How long a locked SQLite file is waited for."""

CONNECT_S: Final = 2
"""How long PostgreSQL may take to be connected to; libpq takes no less."""

STATEMENT_MS: Final = 5_000
"""How long PostgreSQL may take for one statement, or not answer at all."""

_DRIVERS: Final = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "sqlite": "sqlite",
}


def engine_of(at: str | Path) -> sa.Engine:
    """An engine for a file or a URL, that connects when it is used. Raises InvalidArgument."""
    if isinstance(at, Path):
        return _sqlite(URL.create("sqlite", database=str(at)))
    try:
        url = make_url(at)
    except sa.exc.ArgumentError as error:
        raise _unknown() from error
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None or (driver == "sqlite" and url.database in (None, "", ":memory:")):
        raise _unknown()
    return _sqlite(url) if driver == "sqlite" else _postgresql(url.set(drivername=driver))


def file_of(engine: sa.Engine) -> Path | None:
    """The file that an engine opens; None when it opens none."""
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


def _sqlite(url: URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_S})

    # The driver begins transactions by itself, and not where schemas change: SQLAlchemy's own
    # recipe takes that over. https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        # Readers and the writer do not wait for each other.
        connection.execute("PRAGMA journal_mode=WAL")
        # A commit survives a power cut.
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        # A transaction that reads first and writes then cannot wait for another one's end.
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL) -> sa.Engine:
    patience = {
        "connect_timeout": CONNECT_S,
        "tcp_user_timeout": STATEMENT_MS,
        # A machine that is gone acknowledges nothing: found out while an answer is waited for.
        "keepalives_idle": STATEMENT_MS // 1000,
        "keepalives_interval": 1,
        "options": f"-c statement_timeout={STATEMENT_MS}",
        "application_name": "visionmesh-audit",
    }
    # What the URL says itself counts more.
    wanted = {name: value for name, value in patience.items() if name not in url.query}
    return sa.create_engine(url, connect_args=wanted, pool_pre_ping=True)


def _unknown() -> errors.InvalidArgument:
    # The URL itself may have a password in it.
    return errors.InvalidArgument(
        "audit_url: must be postgresql://… or sqlite:///FILE", field="audit_url"
    )
