"""An image is worked on by one at a time, also while two processes serve."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.errors import StoreUnavailable
from services.media.exclusion import Exclusion

MINE, OTHER = "ab" * 32, "cd" * 32

HOLDER = """
import asyncio, sys
from pathlib import Path
from services.media.exclusion import Exclusion

async def main():
    async with Exclusion(Path(sys.argv[1])).alone(sys.argv[2]):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@asynccontextmanager
async def held(folder: Path, digest: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that works on an image until its input ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(folder), digest),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdin
    try:
        assert await process.stdout.readline() == b"held\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def in_turn(exclusion: Exclusion, digest: str, done: list[str]) -> None:
    async with exclusion.alone(digest):
        done.append(digest)


async def test_waits_for_another_process(tmp_path: Path):
    """What another process works on waits, everything else does not; its end frees the image."""
    exclusion = Exclusion(tmp_path)
    done: list[str] = []
    async with held(tmp_path, MINE) as process:
        waiting = asyncio.create_task(in_turn(exclusion, MINE, done))
        for _ in range(3):
            await in_turn(exclusion, OTHER, done)
        assert done == [OTHER] * 3
        process.kill()
        await waiting
    assert done[-1] == MINE


async def test_lets_another_process_have_it(tmp_path: Path):
    """What is done here is free for others, while this process goes on."""
    await in_turn(Exclusion(tmp_path), MINE, [])
    async with held(tmp_path, MINE):
        pass


@pytest.mark.parametrize("shared", [True, False])
async def test_one_at_a_time_here(tmp_path: Path, shared: bool):
    """Within a process, too, who comes second waits for the first."""
    exclusion = Exclusion(tmp_path if shared else None)
    done: list[str] = []
    async with exclusion.alone(MINE):
        waiting = asyncio.create_task(in_turn(exclusion, MINE, done))
        await in_turn(exclusion, OTHER, done)
        assert done == [OTHER]
    await waiting
    assert done == [OTHER, MINE]


async def test_a_folder_that_takes_no_file(tmp_path: Path):
    """Where no file can be made, the store counts as unavailable."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        await in_turn(Exclusion(tmp_path / "file"), MINE, [])
