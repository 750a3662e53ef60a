"""The API viewer: what it is made of, and that a real browser shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.rest import document
from tests.rest.world import World, world
from tests.support.browser import browse


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
