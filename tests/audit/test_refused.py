"""Entries that no database takes, and files that nobody can read: they hold up no others."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.audit.database import Database
from services.audit.entry import Entry, Ids, entries, frame
from services.audit.spool import Spool
from services.errors import AuditUnavailable
from tests.audit.world import TRACE, arrived, digest, everything, is_well, opened, says, verdict

_ids = Ids()


def entry(number: int, *, tenant: str = "local", encoded: bytes = b"") -> Entry:
    encoded = encoded or verdict(number).SerializeToString()
    return Entry(_ids.next(), tenant, digest(number), TRACE, encoded)


def leave(folder: Path, *wanted: Entry) -> None:
    """A spool with entries in it, that nobody has any more."""
    spool = Spool(folder / "audit", "gone")
    spool.append([frame(each) for each in wanted])
    spool.close()


def refused(folder: Path) -> list[Entry | int]:
    """What was set aside."""
    return list(entries((folder / "audit" / "moderation-0.refused").read_bytes()))


@pytest.mark.parametrize("required", [False, True], ids=["queued", "required"])
async def test_an_entry_that_is_none(tmp_path, url, required):
    """An entry without a verdict is set aside and said; all others are in the database."""
    bad = [entry(number, encoded=b"\xff") for number in (3, 7)]
    leave(tmp_path, *(entry(n) for n in range(3)), bad[0], *(entry(n) for n in (4, 5, 6)), bad[1])
    async with opened(tmp_path, url, required=required) as (log, diagnostics):
        await arrived(log, 6)
        message = await says(diagnostics, "refused")
        assert message == "for a person to look at: moderation-0.refused"
        await log.record("local", [(digest(9), verdict(9))], TRACE)
        await arrived(log, 7)
    assert refused(tmp_path) == bad
    assert not list(tmp_path.glob("audit/*.spool"))


async def test_an_entry_that_the_database_refuses(tmp_path, server):
    """A row that has no room in its column is set aside; all others are in the database."""
    bad = entry(1, tenant="a" * 64)
    leave(tmp_path, entry(0), bad, entry(2))
    async with opened(tmp_path, server.new_database("narrow")) as (log, diagnostics):
        await arrived(log, 2)
        await says(diagnostics, "refused")
    assert refused(tmp_path) == [bad]


async def test_a_required_entry_that_the_database_refuses(tmp_path, server):
    """Where the log is required the verdict that is refused is not given; those beside it are."""
    async with opened(tmp_path, server.new_database("strict"), required=True) as (log, diagnostics):
        given = await asyncio.gather(
            log.record("local", [(digest(0), verdict(0))], TRACE),
            log.record("a" * 64, [(digest(1), verdict(1))], TRACE),
            log.record("local", [(digest(2), verdict(2))], TRACE),
            return_exceptions=True,
        )
        assert [type(each) for each in given] == [type(None), AuditUnavailable, type(None)]
        assert await everything(log) == [digest(2), digest(0)]
        await is_well(diagnostics)


@pytest.mark.parametrize("required", [False, True], ids=["queued", "required"])
async def test_a_file_that_cannot_be_read(tmp_path, required):
    """A spool or a lock that is not readable is said, and keeps nobody from the others."""
    leave(tmp_path, entry(1))
    (tmp_path / "audit" / "a.lock").mkdir()
    (tmp_path / "audit" / "gone.00.spool").mkdir()
    async with opened(tmp_path, required=required) as (log, diagnostics):
        await arrived(log, 1)
        message = await says(diagnostics, "a.lock")
        assert message == "for a person to look at: a.lock, gone.00.spool"


@pytest.mark.parametrize("required", [False, True], ids=["queued", "required"])
async def test_tables_of_a_later_release(tmp_path, url, required):
    """Tables that a later release made are a condition, and an error that clients are told."""
    engine = sa.create_engine(url.replace("postgresql", "postgresql+psycopg"))
    database = Database(url)
    database.check()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit_schema SET version_num = '9999'"))
    engine.dispose()
    database.close()
    async with opened(tmp_path, url, required=required) as (log, diagnostics):
        if required:
            with pytest.raises(AuditUnavailable):
                await log.record("local", [(digest(1), verdict(1))], TRACE)
        else:
            await log.record("local", [(digest(1), verdict(1))], TRACE)
        await says(diagnostics, "9999")
        with pytest.raises(AuditUnavailable):
            await log.page("local")


def test_a_disk_without_locks(tmp_path, monkeypatch):
    """Where files cannot be locked every attempt fails, and none keeps a file open."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    spool = Spool(tmp_path, "a")
    open_files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OSError, match="lock"):
            spool.append([frame(entry(1))])
    assert len(os.listdir("/proc/self/fd")) == open_files
