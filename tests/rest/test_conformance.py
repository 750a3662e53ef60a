"""Schemathesis against the facade: what it makes up from the document, the facade answers by it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.rest.world import World

CONFIG = Path(__file__).with_name("schemathesis.toml")

TIMEOUT_S = 300.0


async def test_conforms(rest: World, tmp_path: Path):
    """Every operation keeps to the document under examples, limits, random and chained requests."""
    # As a process of its own: it is a client with a thread for itself, and the facade runs here.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        f"--config-file={CONFIG}",
        "run",
        f"http://127.0.0.1:{rest.port}/openapi.json",
        cwd=tmp_path,  # where it leaves what it remembers between runs
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode(errors="replace")[-20_000:]
    assert rest.images.uploads > 0
    assert rest.model.predictions > 0
