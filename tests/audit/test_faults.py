"""A database that is locked, gone, broken or slow, and a disk that is full."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading

import pytest

from services.audit import queued
from services.audit.database import Database
from services.audit.log import AuditLog
from services.audit.queued import Queued
from services.audit.spool import Spool
from services.errors import AuditUnavailable
from services.serving.diagnostics import Diagnostics
from tests.audit.world import (
    TRACE,
    arrived,
    digest,
    everything,
    is_well,
    locked,
    opened,
    says,
    verdict,
)
from tests.support.postgres import postgres
from tests.support.whole import until


@pytest.fixture
def silent():
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk with room for ten bytes a write while `full_disk` is set."""
    full = asyncio.Event()
    full.set()
    pwrite = os.pwrite

    def limited(descriptor: int, data: bytes, at: int) -> int:
        if not full.is_set():
            return pwrite(descriptor, data, at)
        if len(data) > 10 and at == 0:
            return pwrite(descriptor, data[:10], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", limited)
    return full


async def test_a_locked_database_is_waited_for_in_the_spool(tmp_path):
    """While another connection holds the lock verdicts are given, and it is said how many wait."""
    async with opened(tmp_path) as (log, diagnostics):
        await log.record("local", [(digest(0), verdict(0))], TRACE)
        await arrived(log, 1)
        with locked(tmp_path / "audit.db"):
            for number in (1, 2, 3):
                await log.record("local", [(digest(number), verdict(number))], TRACE)
            assert await says(diagnostics, "locked") == "3 entries wait, database is locked"
            assert await everything(log) == [digest(0)], "readers do not wait for the lock"
        await arrived(log, 4)
        await is_well(diagnostics)
        assert await everything(log) == [digest(n) for n in (3, 2, 1, 0)]


async def test_a_required_log_that_is_locked_refuses_verdicts(tmp_path):
    """Where the log is required no verdict is given while it is locked; then they are again."""
    async with opened(tmp_path, required=True) as (log, diagnostics):
        await log.record("local", [(digest(0), verdict(0))], TRACE)
        with locked(tmp_path / "audit.db"):
            with pytest.raises(AuditUnavailable) as refused:
                await log.record("local", [(digest(1), verdict(1))], TRACE)
            assert "locked" not in refused.value.message, "internals are not for clients"
            assert "no verdicts are given" in await says(diagnostics, "locked")
        await is_well(diagnostics)  # without a further request
        await log.record("local", [(digest(2), verdict(2))], TRACE)
        assert await everything(log) == [digest(2), digest(0)], "what was refused is not there"


async def test_a_file_that_is_removed_is_made_again(tmp_path):
    """Entries go into a new file when the old one is removed under a running process."""
    async with opened(tmp_path) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        await arrived(log, 1)
        for file in tmp_path.glob("audit.db*"):
            file.unlink()
        await log.record("local", [(digest(2), verdict(2))], TRACE)
        await arrived(log, 1)
        assert await everything(log) == [digest(2)]
        await is_well(diagnostics)


async def test_a_file_that_is_no_database(tmp_path):
    """Entries wait while the file is garbage, and are there when it has been put away."""
    (tmp_path / "audit.db").write_bytes(b"garbage" * 1000)
    async with opened(tmp_path) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        assert await says(diagnostics, "1 entry") == "1 entry wait, file is not a database"
        with pytest.raises(AuditUnavailable):
            await log.page("local")
        (tmp_path / "audit.db").rename(tmp_path / "garbage")
        await arrived(log, 1)
        await is_well(diagnostics)


async def test_a_server_that_stops_and_comes_back(tmp_path):
    """Entries wait while PostgreSQL is away, and are there once, in order, when it is back."""
    with postgres() as server:
        async with opened(tmp_path, server.url) as (log, diagnostics):
            await log.record("local", [(digest(1), verdict(1))], TRACE)
            await arrived(log, 1)
            await asyncio.to_thread(server.stop)
            await log.record("local", [(digest(2), verdict(2))], TRACE)
            await says(diagnostics, "1 entry wait", "connection")
            with pytest.raises(AuditUnavailable):
                await log.page("local")
            await asyncio.to_thread(server.start)
            await arrived(log, 2)
            assert await everything(log) == [digest(2), digest(1)]
            await is_well(diagnostics)


async def test_a_start_without_a_server(tmp_path, server):
    """A log can be opened, and recorded in, before its database exists."""
    async with opened(tmp_path, server.database("later")) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        await says(diagnostics, "1 entry wait", '"later" does not exist')
        await asyncio.to_thread(server.new_database, "later")
        await arrived(log, 1)
        await is_well(diagnostics)


async def test_a_required_server_that_never_answers(tmp_path, silent):
    """Where the log is required a verdict is refused, not held back, when the server is silent."""
    url = f"postgresql://postgres@127.0.0.1:{silent}/audit"
    async with opened(tmp_path, url, required=True) as (log, diagnostics):
        with pytest.raises(AuditUnavailable):
            await log.record("local", [(digest(1), verdict(1))], TRACE)
        await says(diagnostics, "no verdicts are given", "timeout")


async def test_what_waits_survives_a_restart(tmp_path):
    """A process that ends while the database is locked leaves its entries to the next one."""
    (tmp_path / "audit.db").touch()
    with locked(tmp_path / "audit.db"):
        async with opened(tmp_path) as (log, _):
            await log.record("local", [(digest(1), verdict(1))], TRACE)
        assert list(tmp_path.glob("audit/*.spool"))
    async with opened(tmp_path) as (log, _):
        await arrived(log, 1)
        assert await everything(log) == [digest(1)]


async def test_a_required_log_takes_over_what_waits(tmp_path):
    """Entries that wait from before the log was required are committed as well."""
    (tmp_path / "audit.db").touch()
    with locked(tmp_path / "audit.db"):
        async with opened(tmp_path) as (log, _):
            await log.record("local", [(digest(1), verdict(1))], TRACE)
    async with opened(tmp_path, required=True) as (log, _):
        await arrived(log, 1)
    assert not list(tmp_path.glob("audit/*.spool"))


async def test_a_full_disk_stops_no_verdict(tmp_path, full_disk):
    """With a full disk entries are kept in memory, it is said so, and they are written later."""
    (tmp_path / "audit.db").touch()
    with locked(tmp_path / "audit.db"):
        async with opened(tmp_path) as (log, diagnostics):
            for number in range(3):
                await log.record("local", [(digest(number), verdict(number))], TRACE)
            message = await says(diagnostics, "locked", "no space left")
            assert message == (
                "3 entries wait, database is locked; "
                "3 entries in memory only, no space left on device"
            )
            full_disk.clear()

            async def written() -> bool:
                return "memory" not in diagnostics.conditions["audit"]

            await until(written, "the disk has them")
    async with opened(tmp_path) as (log, _):
        await arrived(log, 3)
        assert await everything(log) == [digest(n) for n in (2, 1, 0)]


async def test_a_full_disk_and_a_database_elsewhere(tmp_path, full_disk, server):
    """What no disk here takes goes to the database all the same."""
    async with opened(tmp_path, server.new_database("elsewhere")) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        await arrived(log, 1)
        assert "1 entry" not in await says(diagnostics, "no space left")


async def test_what_is_lost_is_counted(tmp_path, full_disk):
    """Beyond what memory has room for the newest entries are lost, and it is said how many."""
    (tmp_path / "audit.db").touch()
    diagnostics = Diagnostics()
    database = Database(tmp_path / "audit.db")
    recorder = Queued(database, Spool(tmp_path / "audit", "a"), diagnostics, kept_entries=2)
    diagnostics.watch("audit", recorder.ailment)
    log = AuditLog(recorder, database)
    with locked(tmp_path / "audit.db"):
        await log.record("local", [(digest(n), verdict(n)) for n in range(5)], TRACE)
        await says(diagnostics, "2 entries in memory only", "3 entries lost since the start")
        assert diagnostics.counters["audit.lost"] == 3
        full_disk.clear()

        async def written() -> bool:
            return "memory" not in diagnostics.conditions["audit"]

        await until(written, "the disk has them")
    await arrived(log, 2)
    assert await everything(log) == [digest(1), digest(0)]
    assert diagnostics.conditions["audit"] == "3 entries lost since the start"
    await log.close()


async def test_a_folder_that_cannot_be_made(tmp_path):
    """Where there can be no spool at all, verdicts are given and the database has them."""
    (tmp_path / "audit").write_text("not a folder")
    async with opened(tmp_path) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        await arrived(log, 1)
        await says(diagnostics, "file exists")


async def test_a_disk_that_hangs_holds_no_verdict_for_long(tmp_path, monkeypatch):
    """A verdict is given although the write of its entry does not end; later it is there."""
    hanging = threading.Event()
    pwrite = os.pwrite

    def slow(descriptor: int, data: bytes, at: int) -> int:
        hanging.wait(60)
        return pwrite(descriptor, data, at)

    monkeypatch.setattr(queued, "PATIENCE_S", 0.01)
    monkeypatch.setattr(os, "pwrite", slow)
    async with opened(tmp_path) as (log, _):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        assert await everything(log) == []
        hanging.set()
        await arrived(log, 1)


async def test_a_caller_that_leaves(tmp_path):
    """Where the log is required, a verdict whose caller left before the commit is not recorded."""
    async with opened(tmp_path, required=True) as (log, diagnostics):
        await log.record("local", [(digest(0), verdict(0))], TRACE)
        leaver = asyncio.create_task(log.record("local", [(digest(1), verdict(1))], TRACE))
        await asyncio.sleep(0)  # it has begun, and not been handed over
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        await log.record("local", [(digest(2), verdict(2))], TRACE)
        assert await everything(log) == [digest(2), digest(0)]
        await is_well(diagnostics)
