"""A whole mesh: what it decides is on record, and can be decided again."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.support.photos import jpeg
from tests.support.whole import until, world
from visionmesh.common.v1.image_pb2 import ImageRef


async def visionmesh(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from mesh.cli import app; app()",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_decided_again(tmp_path: Path):
    """Verdicts are recorded for their tenant, and given again the same until the image is gone."""
    async with world(tmp_path, tenants=["a", "b"]) as mesh:
        images = [await mesh.upload(jpeg(64, 48, seed=seed), tenant="a") for seed in range(3)]
        async with mesh.client("a") as client:
            outcomes = await client.moderate([ImageRef(digest=each) for each in images])

            async def recorded() -> bool:
                return len((await client.list_audit_entries()).entries) == len(images)

            await until(recorded, "the verdicts are on record")
            entries = (await client.list_audit_entries()).entries
            assert {entry.digest: entry.verdict for entry in entries} == {
                outcome.digest: outcome.verdict for outcome in outcomes
            }
        async with mesh.client("b") as client:
            assert not (await client.list_audit_entries()).entries

        status, exported = await visionmesh("audit", "export", "--data", tmp_path)
        assert status == 0
        assert {json.loads(line)["imageId"] for line in exported.splitlines()} == set(images)
        assert await visionmesh("audit", "replay", "--data", tmp_path) == (
            0,
            "3 verdicts: 3 same\n",
        )
        await mesh.call("DELETE", f"/v1/images/{images[0]}", tenant="a")
        status, said = await visionmesh("audit", "replay", "--data", tmp_path)
        assert status == 0
        assert said.endswith("3 verdicts: 2 same, 1 deleted\n")
        async with mesh.client("a") as client:
            entries = (await client.list_audit_entries()).entries
            assert len(entries) == len(images), "a replay is not recorded"
