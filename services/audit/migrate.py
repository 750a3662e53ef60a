"""Brings an audit database up to date, however many replicas start at the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_MIGRATIONS: Final = Path(__file__).parent / "migrations"

_VERSION_TABLE: Final = "audit_schema"

_LOCK: Final = 0x7669_7375_616C
"""PostgreSQL's advisory locks are numbers that applications agree on."""


def upgrade(engine: sa.Engine) -> None:
    """Run the migrations that are missing, in one transaction. Raises SQLAlchemyError.

    Where none is missing this only reads, and waits for nobody who writes.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with engine.execution_options(reads=True).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": _VERSION_TABLE})
        if context.get_current_heads() == tuple(ScriptDirectory.from_config(config).get_heads()):
            return
    with engine.begin() as connection:  # locks a whole SQLite file
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = _VERSION_TABLE
        command.upgrade(config, "head")
