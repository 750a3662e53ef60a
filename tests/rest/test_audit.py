"""`/v1/audit`: the verdicts that were given."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.rest.world import WAIT_S, World, digest_of, world
from tests.support import photos


async def entries(rest: World, count: int, query: str = "") -> list[dict[str, Any]]:
    """The first page, once it has so many entries: they come shortly after their verdicts."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await rest.get(f"/v1/audit{query}")
            assert answer.headers["Cache-Control"] == "no-store"
            assert "ETag" not in answer.headers
            found: list[dict[str, Any]] = answer.json["entries"]
            if len(found) >= count:
                return found


async def test_verdicts_are_on_record(rest: World, jpeg: bytes):
    """A verdict is in the log as it was given, with its image, its release and its trace."""
    answer = await rest.post("/v1/moderations?policy=strict", jpeg)
    [entry] = await entries(rest, 1)
    given = answer.json
    for name in (
        "imageId",
        "release",
        "decision",
        "isCompliant",
        "rejectionReasons",
        "missing",
        "unknownCodes",
        "policy",
        "models",
    ):
        assert entry[name] == given[name], name
    assert entry["traceId"] == answer.headers["x-trace-id"]
    assert entry["recordedAt"].endswith("Z")


async def test_pages(rest: World):
    """Pages go from the newest verdict to the oldest, and those of one image can be had alone."""
    ids = [await rest.upload(photos.jpeg(64, height)) for height in (48, 49, 50)]
    for image_id in ids:
        await rest.get(f"/v1/images/{image_id}/moderation")
    await entries(rest, 3)
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = (await rest.get(f"/v1/audit{query}")).json
        seen += [entry["imageId"] for entry in page["entries"]]
        if page["nextCursor"] is None:
            break
        query = f"?limit=2&cursor={page['nextCursor']}"
    assert seen == ids[::-1]
    of_one = await entries(rest, 1, f"?image={ids[1]}")
    assert [entry["imageId"] for entry in of_one] == [ids[1]]
    assert (await rest.get(f"/v1/audit?image={'0' * 64}")).json == {
        "entries": [],
        "nextCursor": None,
    }


async def test_fields(rest: World, jpeg: bytes):
    """`fields` reaches into the entries."""
    await rest.post("/v1/moderations", jpeg)
    await entries(rest, 1)
    page = await rest.get("/v1/audit?fields=entries(imageId,policy/name)")
    assert page.json == {"entries": [{"imageId": digest_of(jpeg), "policy": {"name": "default"}}]}


async def test_own_tenant_alone(tmp_path: Path, jpeg: bytes):
    """A tenant sees its own verdicts, and no cursor of another one is good."""
    async with world(tmp_path, token="secret") as rest:
        acme, other = rest.of("acme"), rest.of("other")
        for _ in range(2):
            await acme.post("/v1/moderations", jpeg)
        await other.post("/v1/moderations", jpeg)
        await entries(acme, 2)
        [own] = await entries(other, 1)
        assert own["imageId"] == digest_of(jpeg)
        cursor = (await acme.get("/v1/audit?limit=1")).json["nextCursor"]
        assert (await acme.get(f"/v1/audit?cursor={cursor}")).status == 200
        refused = await other.get(f"/v1/audit?cursor={cursor}")
        assert (refused.status, refused.json["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=nonsense", "cursor"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("image=cat", "image"),
        ("fields=nothing", "fields"),
        ("policy=strict", "policy"),
    ],
)
async def test_refuses(rest: World, query: str, field: str):
    """What is no cursor, limit or image is refused by its name."""
    answer = await rest.get(f"/v1/audit?{query}")
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")
    assert answer.json["field"] == field
    assert "page_" not in answer.json["detail"]
