"""A disk or a server that takes everything and never answers: neither an error nor an end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from services.audit import committed, queued, readers, watch
from services.audit.committed import Committed
from services.audit.database import Database
from services.audit.log import AuditLog
from services.audit.queued import Queued
from services.audit.spool import Spool
from services.errors import AuditUnavailable
from services.serving.diagnostics import Diagnostics
from tests.audit.world import TRACE, arrived, digest, is_well, opened, says, verdict
from tests.support.postgres import Postgres


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What takes long is said soon, and a slow disk is not waited for."""
    monkeypatch.setattr(watch, "LATE_S", 0.2)
    monkeypatch.setattr(readers, "CLOSE_S", 10.0)
    monkeypatch.setattr(queued, "PATIENCE_S", 0.01)


@contextmanager
def stopped(server: Postgres, database: str) -> Iterator[None]:
    """The server stands still, with its connections to a database: all of them stay open.

    Everybody gives up soon meanwhile, and only then: a busy machine's server is only slow.
    """
    with psycopg.connect(server.url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s", [database]
        ).fetchall()
    assert found
    assert server.pid
    pids = [server.pid, *(pid for (pid,) in found)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(readers, "PATIENCE_S", 0.2)
            patch.setattr(committed, "PATIENCE_S", 0.2)
            yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_server_that_stands_still(tmp_path, server):
    """Verdicts go on, it is said, pages are refused, and all is there when the server goes on."""
    async with opened(tmp_path, server.new_database("still")) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        await arrived(log, 1)
        with stopped(server, "still"):
            await log.record("local", [(digest(2), verdict(2))], TRACE)
            await says(diagnostics, "1 entry wait, database does not answer")
            for _ in range(2 * readers.READERS):
                with pytest.raises(AuditUnavailable):
                    await log.page("local")
            assert await asyncio.to_thread(lambda: True), "the loop's threads are free"
        await arrived(log, 2)
        await is_well(diagnostics)


async def test_a_required_server_that_stands_still(tmp_path, server):
    """Where the log is required verdicts are refused, it is said, and ends when it does."""
    async with opened(tmp_path, server.new_database("firm"), required=True) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        with stopped(server, "firm"):
            with pytest.raises(AuditUnavailable):
                await log.record("local", [(digest(2), verdict(2))], TRACE)
            await says(diagnostics, "no verdicts are given, database does not answer")
        await is_well(diagnostics)
        await log.record("local", [(digest(3), verdict(3))], TRACE)


async def test_what_waits_for_a_required_server_is_bounded(tmp_path, server, monkeypatch):
    """Those who come while very many wait are refused at once, and take no memory."""
    monkeypatch.setattr(committed, "WAITING", 3)
    async with opened(tmp_path, server.new_database("many"), required=True) as (log, diagnostics):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        with stopped(server, "many"):
            for number in range(20):
                with pytest.raises(AuditUnavailable):
                    await log.record("local", [(digest(number), verdict(number))], TRACE)
            assert isinstance(log._recorder, Committed)
            assert log._recorder._inbox.waiting <= 3
        await is_well(diagnostics)


@pytest.mark.parametrize("required", [False, True], ids=["queued", "required"])
async def test_the_end_does_not_wait_for_a_server_that_stands_still(
    tmp_path, server, monkeypatch, required
):
    """Closing ends; what the spool has is there at the next start."""
    monkeypatch.setattr(queued, "CLOSE_S", 0.1)
    monkeypatch.setattr(committed, "CLOSE_S", 0.1)
    name = f"end{required:d}"
    url = server.new_database(name)
    log = AuditLog.open(url, tmp_path, required, "moderation-0")
    await log.record("local", [(digest(1), verdict(1))], TRACE)
    await arrived(log, 1)
    with stopped(server, name):
        if required:
            with pytest.raises(AuditUnavailable):
                await log.record("local", [(digest(2), verdict(2))], TRACE)
        else:
            await log.record("local", [(digest(2), verdict(2))], TRACE)
        await log.close()
    recorder = log._recorder
    assert isinstance(recorder, Committed | Queued)
    thread = recorder._thread if isinstance(recorder, Committed) else recorder._drainer
    await asyncio.to_thread(thread.join)
    log._database.close()


async def test_a_disk_that_hangs_is_said_and_bounded(tmp_path, monkeypatch):
    """It is said that the disk does not answer; what has no room in memory is counted."""
    hanging = threading.Event()
    pwrite = os.pwrite

    def slow(descriptor: int, data: bytes, at: int) -> int:
        hanging.wait(60)
        return pwrite(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", slow)
    monkeypatch.setattr(queued, "CLOSE_S", 0.1)
    diagnostics = Diagnostics()
    database = Database(tmp_path / "audit.db")
    recorder = Queued(database, Spool(tmp_path / "audit", "a"), diagnostics, kept_entries=2)
    diagnostics.watch("audit", recorder.ailment)
    log = AuditLog(recorder, database)
    await log.record("local", [(digest(0), verdict(0))], TRACE)
    await says(diagnostics, "disk does not answer")
    for number in range(1, 6):
        await log.record("local", [(digest(number), verdict(number))], TRACE)
    await says(diagnostics, "2 entries in memory only, disk does not answer", "3 entries lost")
    assert diagnostics.counters["audit.lost"] == 3
    await log.close()
    hanging.set()
    await asyncio.to_thread(recorder._writer.join)
    await asyncio.to_thread(recorder._drainer.join)
    database.close()
