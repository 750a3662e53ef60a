"""The API viewer: what it is made of, and that a real browser shows it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from services.rest import document
from tests.rest.world import World, world

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


async def test_renders_in_a_browser(rest: World, tmp_path: Path):
    """Chromium shows every operation, and has nothing to complain about the strict policy."""
    page, console = await browse(f"http://127.0.0.1:{rest.port}/docs", tmp_path / "profile")
    assert console == []
    for path in document.load()["paths"]:
        assert f'data-path="{path}"' in page


async def test_upload_can_be_tried(rest: World, tmp_path: Path):
    """The operation that takes an image offers to choose one."""
    url = f"http://127.0.0.1:{rest.port}/docs#/images/createImage"
    page, console = await browse(url, tmp_path / "profile")
    assert console == []
    assert 'type="file"' in page


async def test_all_of_it_is_ours(rest: World):
    """The page may load nothing from elsewhere, and no script that is written into it."""
    answer = await rest.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert b"http" not in answer.body


async def test_serves_no_other_files(rest: World):
    """What the page does not load is not served, whatever lies in the viewer's folder."""
    for name in ("package.json", "swagger-ui.js.map", "..%2f..%2fpyproject.toml", "index.html"):
        assert (await rest.get(f"/docs/{name}")).status == 404


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui.css"])
async def test_viewer_that_is_not_installed(tmp_path: Path, path: str):
    """Without the assets the page says how to get them, and everything else works."""
    async with world(tmp_path, viewer_dir=tmp_path / "nowhere") as rest:
        answer = await rest.get(path)
        assert (answer.status, answer.json["code"]) == (503, "VIEWER_NOT_INSTALLED")
        assert "npm ci" in answer.json["detail"]
        assert str(tmp_path) not in answer.json["detail"]
        assert (await rest.get("/openapi.json")).status == 200
