"""Parts of the gateway on their own, where time is the test's: `units/*.test.ts`, run by Node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from mesh.programs import NODE

UNITS: Final = Path(__file__).with_name("units")


@pytest.mark.parametrize("file", sorted(file.name for file in UNITS.glob("*.test.ts")))
async def test_units(file: str):
    """Each file of tests passes, and has tests."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        "--test",
        "--test-reporter=tap",
        "--test-timeout=60000",
        UNITS / file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert "\n# pass 0\n" not in said.decode()
