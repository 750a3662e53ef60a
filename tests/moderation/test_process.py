"""The moderation process: starts with good policies only, and takes new ones while it runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.client.mesh import MeshClient
from tests.moderation.support import rule
from tests.moderation.world import UNDETERMINED, photo
from visionmesh.common.v1.image_pb2 import ImageRef

POLICY = "rules:\n" + rule("nsfw.score > 0.5", "FIRST")


@asynccontextmanager
async def process(folder: Path, **settings: str) -> AsyncIterator[Process]:
    """The real process on a free port with the policies of a folder; killed when still there."""
    environment = os.environ | {
        "VISIONMESH_POLICIES_DIR": str(folder),
        "VISIONMESH_DATA_DIR": str(folder / "data"),
        "VISIONMESH_PORT": "0",
        "VISIONMESH_LOG_JSON": "true",
        **settings,
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.moderation", env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(60):
            yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def logged(started: Process, event: str) -> dict[str, Any]:
    """The next log line about an event."""
    assert started.stderr
    async for line in started.stderr:
        found: dict[str, Any] = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"ended without {event!r}")


@pytest.mark.parametrize(
    ("files", "settings", "said"),
    [
        (
            {"default.yaml": POLICY.replace("nsfw.score", "nsfw.scor")},
            {},
            ["default.yaml:5:11: rule FIRST: when: at 1:5: undefined field 'scor'"],
        ),
        ({}, {}, ["there is no default.yaml"]),
        ({"default.yaml": POLICY}, {"VISIONMESH_PORT": "many"}, ["port", "integer"]),
    ],
)
async def test_bad_start(
    tmp_path: Path, files: dict[str, str], settings: dict[str, str], said: list[str]
):
    """What a person must put right stops the process with one clear line."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    async with process(tmp_path, **settings) as started:
        _, stderr = await started.communicate()
    [line] = stderr.decode().splitlines()
    assert started.returncode == 1
    assert line.startswith("moderation: ")
    assert [part for part in said if part not in line] == []


async def test_hang_up_loads_the_policies_again(tmp_path: Path):
    """SIGHUP takes what is good, keeps the last good ones otherwise, and SIGTERM ends it all."""
    path = tmp_path / "default.yaml"
    path.write_text(POLICY)
    async with process(tmp_path) as started:
        address = (await logged(started, "serving"))["address"]
        async with MeshClient(address) as moderation:
            [first] = await moderation.list_policies()
            path.write_text(POLICY.replace("FIRST", "SECOND"))
            started.send_signal(signal.SIGHUP)
            assert (await logged(started, "policies loaded"))["policies"] == ["default"]
            [second] = await moderation.list_policies()

            path.write_text("rules: []\n")
            started.send_signal(signal.SIGHUP)
            assert "default.yaml:1:8" in (await logged(started, "policies not loaded"))["error"]
            [third] = await moderation.list_policies()
        started.send_signal(signal.SIGTERM)
        await started.wait()
    assert (list(first.codes), list(second.codes)) == (["FIRST"], ["SECOND"])
    assert third == second
    assert first.version != second.version
    assert started.returncode == 0
    archived = tmp_path / "data" / "objects" / "policies" / "default"
    assert {path.stem for path in archived.iterdir()} == {first.version, second.version}


async def test_verdict_is_named_and_on_record_after_a_restart(tmp_path: Path):
    """Without any model there is a verdict; the next process has its release and its record."""
    (tmp_path / "default.yaml").write_text(POLICY)
    record = ImageRef(digest=hashlib.sha256(photo(0)).hexdigest(), data=photo(0))
    settings = {"VISIONMESH_MESH_ADDRESS": "127.0.0.1:1"}
    async with process(tmp_path, **settings) as started:
        address = (await logged(started, "serving"))["address"]
        async with MeshClient(address) as moderation:
            [given] = await moderation.moderate([record])
        started.send_signal(signal.SIGTERM)
        await started.wait()
    async with process(tmp_path, **settings) as again:
        address = (await logged(again, "serving"))["address"]
        async with MeshClient(address) as moderation:
            [entry] = (await moderation.list_audit_entries()).entries
            release = entry.verdict.release
            [replayed] = await moderation.moderate([record], release=release)
    assert (entry.digest, entry.verdict) == (record.digest, given.verdict)
    assert (replayed.verdict.release, replayed.verdict.decision) == (release, UNDETERMINED)
