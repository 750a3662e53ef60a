"""The files in which entries wait, whatever is done to them."""

from __future__ import annotations

import random
import shutil
import struct
import zlib

import pytest

from services.audit import spool as module
from services.audit.entry import Entry, Ids, entries, frame
from services.audit.spool import Spool
from tests.audit.world import TRACE, arrived, digest, everything, opened, verdict

_ids = Ids()


def entry(number: int) -> Entry:
    return Entry(_ids.next(), "local", digest(number), TRACE, verdict(number).SerializeToString())


def taken(spool: Spool) -> list[Entry]:
    """Everything in a spool, taken out of it."""
    found: list[Entry] = []
    while chunk := spool.take():
        found += chunk.entries
        spool.done(chunk)
    return found


def test_what_is_appended_is_taken_in_order(tmp_path):
    """Entries come out as they went in, each once, and nothing is left in the file."""
    spool = Spool(tmp_path, "a")
    wanted = [entry(number) for number in range(10)]
    spool.append([frame(each) for each in wanted[:4]])
    spool.append([frame(each) for each in wanted[4:6]])
    assert spool.waiting == 6
    assert taken(spool) == wanted[:6]
    spool.append([frame(each) for each in wanted[6:]])
    assert taken(spool) == wanted[6:]
    assert spool.waiting == 0
    spool.close()
    assert not list(tmp_path.glob("*.spool"))


def test_appended_while_taken(tmp_path):
    """What is appended between taking and forgetting stays."""
    spool = Spool(tmp_path, "a")
    first, second = entry(1), entry(2)
    spool.append([frame(first)])
    chunk = spool.take()
    assert chunk
    spool.append([frame(second)])
    spool.done(chunk)
    assert spool.waiting == 1
    assert taken(spool) == [second]
    spool.close()


def test_many_files(tmp_path, monkeypatch):
    """A backlog is many files, that go one by one as they are taken."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    spool = Spool(tmp_path, "a")
    wanted = [entry(number) for number in range(30)]
    for each in wanted:
        spool.append([frame(each)])
    assert len(list(tmp_path.glob("*.spool"))) > 5
    assert taken(spool) == wanted
    assert len(list(tmp_path.glob("*.spool"))) <= 1
    spool.close()


def test_removed_while_it_is_written(tmp_path):
    """Entries of a file that somebody removed are taken all the same."""
    spool = Spool(tmp_path / "x", "a")
    wanted = [entry(number) for number in range(3)]
    spool.append([frame(each) for each in wanted])
    shutil.rmtree(tmp_path / "x")
    assert taken(spool) == wanted
    spool.close()


def test_two_of_one_name(tmp_path):
    """Two processes with one name have files of their own, and none takes the other's."""
    first, second = Spool(tmp_path, "a"), Spool(tmp_path, "a")
    mine, theirs = entry(1), entry(2)
    first.append([frame(mine)])
    second.append([frame(theirs)])
    first.adopt()
    second.adopt()
    assert taken(first) == [mine]
    assert taken(second) == [theirs]
    first.close()
    second.close()


def test_left_behind_by_another(tmp_path):
    """What a replica left that does not run any more is taken by the next one that starts."""
    gone = Spool(tmp_path, "gone")
    wanted = [entry(number) for number in range(3)]
    gone.append([frame(each) for each in wanted])
    gone.close()
    spool = Spool(tmp_path, "a")
    later = entry(9)
    spool.append([frame(later)])
    spool.adopt()
    spool.adopt()
    assert spool.waiting == 4
    assert taken(spool) == [*wanted, later]
    spool.close()
    assert not list(tmp_path.glob("*.spool"))


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 13, 100])
async def test_a_torn_last_record_is_skipped(tmp_path, cut):
    """A file whose last record was cut short gives all the others, and is kept for a person."""
    spool = Spool(tmp_path / "audit", "moderation-0")
    spool.append([frame(entry(number)) for number in range(3)])
    spool.close()
    [file] = (tmp_path / "audit").glob("*.spool")
    file.write_bytes(file.read_bytes()[:-cut])
    async with opened(tmp_path) as (log, _):
        await arrived(log, 2)
        assert await everything(log) == [digest(1), digest(0)]
    assert [each.suffix for each in (tmp_path / "audit").iterdir()].count(".damaged") == 1


def test_whatever_is_overwritten_costs_no_other_entry():
    """Bytes written over at any place spoil the entries they are in, and none else."""
    rng = random.Random(1)
    wanted = [entry(number) for number in range(20)]
    frames = [frame(each) for each in wanted]
    starts = [sum(map(len, frames[:index])) for index in range(21)]
    for _ in range(300):
        data = bytearray(b"".join(frames))
        at = rng.randrange(len(data))
        spoilt = rng.randbytes(rng.randrange(1, 40))
        data[at : at + len(spoilt)] = spoilt
        end = min(at + len(spoilt), starts[-1])
        del data[starts[-1] :]
        good = [
            each
            for each, begin, until in zip(wanted, starts, starts[1:], strict=False)
            if until <= at or begin >= end or data[begin:until] == frame(each)
        ]
        found = list(entries(bytes(data)))
        assert [each for each in found if isinstance(each, Entry)] == good
        if len(good) < 20:
            assert any(isinstance(each, int) for each in found)


def test_names_are_fit_for_files(tmp_path):
    """A replica may be called anything: its files stay in the folder, and are its own."""
    spool, other = Spool(tmp_path / "x", "../a.b/c"), Spool(tmp_path / "x", "--a")
    spool.append([frame(entry(1))])
    other.append([frame(entry(2))])
    assert len(list((tmp_path / "x").glob("*.spool"))) == 2
    other.adopt()
    assert other.waiting == 1
    spool.close()
    other.close()


def test_ids_sort_as_they_were_made():
    """Ids are in order and different, also when the clock stands still or goes back."""
    times = iter([5_000, 5_000, 9_000_000, 1_000, 1_000, 10_000_000])
    ids = Ids(lambda: next(times))
    made = [ids.next() for _ in range(6)]
    assert made == sorted(set(made))


async def test_an_empty_file_holds_nothing_up(tmp_path):
    """A process that was killed when the database had everything leaves an empty file."""
    killed = Spool(tmp_path / "audit", "killed")
    killed.append([frame(entry(1))])
    assert len(taken(killed)) == 1
    [file] = (tmp_path / "audit").glob("*.spool")
    killed.close()
    file.touch()
    async with opened(tmp_path) as (log, diagnostics):
        await log.record("local", [(digest(2), verdict(2))], TRACE)
        await arrived(log, 1)
        assert not file.exists()
        assert not diagnostics.conditions


def test_taken_while_the_file_is_finished(tmp_path, monkeypatch):
    """A file whose entries are taken while it is synced for the last time holds nothing up."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1)
    spool = Spool(tmp_path, "a")
    first, second = entry(1), entry(2)
    sync = spool.sync
    found: list[Entry] = []

    def slow() -> None:
        sync()
        if not found:
            found.extend(taken(spool))

    monkeypatch.setattr(spool, "sync", slow)
    spool.append([frame(first)])
    spool.append([frame(second)])
    assert [*found, *taken(spool)] == [first, second]
    assert not list(tmp_path.glob("*.spool"))
    spool.close()


@pytest.mark.parametrize("payload", [b"", b"no entry", b"\xff\n\n\n\n", b"a\nb\nc\nd"])
async def test_a_record_that_is_no_entry(tmp_path, payload):
    """A whole record of something else is unreadable like a torn one, and holds nothing up."""
    foreign = struct.pack("<4sII", b"\xa5VA1", len(payload), zlib.crc32(payload)) + payload
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "moderation-0.lock").touch()
    file = tmp_path / "audit" / "moderation-0.01.spool"
    file.write_bytes(frame(entry(1)) + foreign + frame(entry(2)))
    async with opened(tmp_path) as (log, _):
        await arrived(log, 2)
    assert file.with_suffix(".damaged").exists()
