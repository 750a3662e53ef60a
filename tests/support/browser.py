"""A real browser without a window, for pages that people look at."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Time passes as fast as the page has nothing to do: it is done well before this.
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
    "--dump-dom",
)

TIMEOUT_S = 120.0


async def browse(url: str, profile: Path) -> tuple[str, list[str]]:
    """A page as Chromium has rendered it, and what it wrote to its console."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: see tests/packages.sh"
    process = await asyncio.create_subprocess_exec(
        chromium,
        *FLAGS,
        f"--user-data-dir={profile}",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        page, log = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    console = [line for line in log.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return page.decode(), console
