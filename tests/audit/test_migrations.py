"""The database's tables: from nothing, again, and by several processes at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from services.audit.database import Database
from services.audit.engine import engine_of
from services.audit.entry import Entry, Ids
from services.audit.migrate import upgrade
from services.audit.schema import METADATA
from tests.audit.world import TRACE, digest, locked, verdict

STARTER = """
import sys
from services.audit.database import Database
print("up", flush=True)
sys.stdin.read(1)
Database(sys.argv[1]).check()
"""


@pytest.fixture
def engine(url):
    engine = engine_of(url)
    yield engine
    engine.dispose()


def test_the_migrations_make_what_the_code_expects(engine):
    """From nothing, the migrations make exactly the tables and indexes that the code describes."""
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "audit_schema"})
        assert compare_metadata(context, METADATA) == []


def test_again_changes_nothing(engine, url):
    """A database that is up to date keeps its entries when it is brought up to date again."""
    entry = Entry(Ids().next(), "local", digest(1), TRACE, verdict(1).SerializeToString())
    database = Database(url)
    database.insert([entry])
    upgrade(engine)
    assert database.page("local", 10) == [entry]
    database.close()


def test_what_is_up_to_date_is_not_locked(tmp_path):
    """A reader that starts while somebody writes does not wait for them."""
    file = tmp_path / "audit.db"
    for _ in range(2):
        database = Database(file)
        assert database.page("local", 10) == []
        database.close()
    with locked(file):
        database = Database(file)
        assert database.page("local", 10) == []
        database.close()


async def test_several_start_at_once(url):
    """Processes that start at the same moment on an empty database all find it ready."""
    command = (sys.executable, "-c", STARTER, url)
    pipe = subprocess.PIPE
    starters = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdout
        assert await starter.stdout.readline() == b"up\n"
    ended = await asyncio.gather(*(starter.communicate(b"g") for starter in starters))
    assert [starter.returncode for starter in starters] == [0] * 4, ended


def test_pages_are_read_through_an_index(engine):
    """SQLite finds a tenant's page, and one image's, in an index and sorts nothing."""
    if engine.dialect.name != "sqlite":
        return
    upgrade(engine)
    for where in ("tenant = 'a'", "tenant = 'a' AND digest = 'd'"):
        query = f"SELECT * FROM audit_entries WHERE {where} AND id < 'f' ORDER BY id DESC LIMIT 9"
        with engine.connect() as connection:
            plan = str(connection.execute(sa.text(f"EXPLAIN QUERY PLAN {query}")).all())
        assert "USING INDEX audit_entries_by_" in plan
        assert "TEMP B-TREE" not in plan
