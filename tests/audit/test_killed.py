"""`kill -9` of a process that records: what it acknowledged is there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.world import arrived, digest, everything, opened

RECORDER = Path(__file__).with_name("recorder.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", ["queued", "required"])
async def test_what_was_acknowledged_is_there(tmp_path, url, mode):
    """After each of several kills all that was acknowledged is in the database, once, in order."""
    recorded = 0
    for _ in range(3):
        acknowledged = await asyncio.to_thread(_killed, tmp_path, url, mode, recorded)
        async with opened(tmp_path, url) as (log, _):
            await arrived(log, acknowledged)
        async with opened(tmp_path, url) as (log, _):
            found = await everything(log)
        # The last one may have been recorded without having been acknowledged.
        recorded = len(found)
        assert acknowledged <= recorded <= acknowledged + 1
        assert found == [digest(number) for number in reversed(range(recorded))]
    assert not list(tmp_path.glob("audit/*.spool"))


def _killed(folder: Path, url: str, mode: str, first: int) -> int:
    """Record from one number on, and be killed in the middle of it; up to which it was said."""
    said = first
    with subprocess.Popen(
        [sys.executable, RECORDER, folder, url, mode, str(first)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
    ) as process:
        assert process.stdout
        try:
            while said < first + 100:
                said = int(process.stdout.readline()) + 1
        finally:
            process.kill()
        for line in process.stdout:
            if line.endswith(b"\n"):
                said = int(line) + 1
    return said
