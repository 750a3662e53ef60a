"""`Server-Timing` of a whole mesh: what each model took for this request, and never for another."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio

from services import catalog
from services.moderation.settings import PACKAGED_POLICIES
from tests.support.graph import ask, document, get
from tests.support.photos import jpeg
from tests.support.whole import Answer, World, until, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = {process.name for process in catalog.MODELS}

FIELDS = "query ($id: ID!) { image(id: $id) { nsfw { score } ocr { text } } }"

# A client that says which request and trace it is, always the same ones.
CLIENT: dict[str, Any] = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "x_request_id": "11111111-2222-3333-4444-555555555555",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    policies = {"VISIONMESH_POLICIES_DIR": str(PACKAGED_POLICIES)}
    async with world(
        tmp_path_factory.mktemp("mesh"), replica_env={("moderation", 0): policies}
    ) as running:
        yield running


def timing(answer: Answer) -> dict[str, tuple[float | None, str]]:
    """The header's entries by name: milliseconds, and why; nothing else is in it."""
    assert "x-visionmesh-made-for" not in answer.headers
    found = {}
    for entry in answer.headers["server-timing"].split(", "):
        parsed = re.fullmatch(r"([a-z]+)(?:;dur=(\d+\.\d))?(?:;desc=([a-z]+))?", entry)
        assert parsed, entry
        name, took_ms, why = parsed.groups()
        assert name not in found
        found[name] = (float(took_ms) if took_ms else None, why or "")
    return found


def reasons(answer: Answer) -> dict[str, str]:
    return {name: why for name, (_, why) in timing(answer).items()}


@contextmanager
def stopped(mesh: World, process: str) -> Iterator[None]:
    pid = mesh.mesh.pid(process)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def both(mesh: World, process: str, *asked: Awaitable[Answer]) -> list[Answer]:
    """Two requests that are at a process together before it answers either."""
    before = mesh.requests_to(process)

    async def there() -> bool:
        return mesh.requests_to(process) == before + 2

    with stopped(mesh, process):
        tasks = [asyncio.ensure_future(one) for one in asked]
        await until(there, f"two calls of {process}")
    return await asyncio.gather(*tasks)


async def test_what_models_make(mesh: World):
    """A verdict on a new photo says of each model how long it took, and that it ran."""
    answer = await mesh.call(
        "POST", "/v1/moderations", data=jpeg(640, 480, seed=1), content_type="image/jpeg"
    )
    found = timing(answer)
    assert found.keys() == {*MODELS, "moderation", "total"}
    for model in MODELS:
        took_ms, why = found[model]
        assert why == "made"
        assert took_ms
        assert took_ms <= (found["moderation"][0] or 0) <= (found["total"][0] or 0)


async def test_what_was_made_before(mesh: World):
    """Another view of a result that is there says that it was stored."""
    digest = await mesh.upload(jpeg(640, 480, seed=2))
    first = await mesh.call("GET", f"/v1/images/{digest}/nsfw")
    second = await mesh.call("GET", f"/v1/images/{digest}/nsfw?fields=imageId")
    assert reasons(first) == {"nsfw": "made", "total": ""}
    assert reasons(second) == {"nsfw": "stored", "total": ""}
    assert timing(second)["nsfw"][0] is not None


async def test_a_hit_at_the_edge(mesh: World):
    """What Envoy has says so, with no times of whoever had it made, and of no trace of theirs."""
    digest = await mesh.upload(jpeg(640, 480, seed=3))
    release = (await mesh.call("GET", "/v1/releases/current")).json["release"]
    path = f"/v1/images/{digest}/nsfw?release={release}"
    first, second = [await mesh.call("GET", path, **CLIENT) for _ in range(2)]
    assert reasons(first) == {"nsfw": "made", "total": ""}
    assert second.body == first.body
    assert second.headers["server-timing"] == "cache;desc=hit"


async def test_a_revalidated_answer(mesh: World):
    """What Envoy asks about says so every time, with the time of the question alone."""
    digest = await mesh.upload(jpeg(640, 480, seed=4))
    path = f"/v1/images/{digest}/nsfw"
    first = await mesh.call("GET", path, **CLIENT)
    assert reasons(first) == {"nsfw": "made", "total": ""}
    for _ in range(2):
        again = await mesh.call("GET", path, **CLIENT)
        assert (again.status, again.body) == (200, first.body)
        assert reasons(again) == {"cache": "revalidated", "total": ""}
    known = await mesh.call("GET", path, if_none_match=first.headers["etag"])
    assert known.status == 304
    assert reasons(known) == {"cache": "revalidated", "total": ""}


async def test_a_joined_request(mesh: World):
    """Of two that need one result at once, one has it made and the other one waits."""
    digest = await mesh.upload(jpeg(640, 480, seed=5))
    path = f"/v1/images/{digest}/ocr"
    answers = await both(
        mesh, "ocr", mesh.call("GET", path), mesh.call("GET", f"{path}?fields=imageId")
    )
    assert sorted(reasons(answer)["ocr"] for answer in answers) == ["joined", "made"]


async def test_a_lost_model(mesh: World):
    """A model that does not answer in time is in the answer that says so, and in one without it."""
    digest = await mesh.upload(jpeg(640, 480, seed=6))
    with stopped(mesh, "logo"):
        late = await mesh.call("GET", f"/v1/images/{digest}/logo", x_request_timeout_ms="700")
    assert late.status == 504
    assert reasons(late) == {"logo": "failed", "total": ""}


async def test_a_query(mesh: World):
    """A GraphQL query says of each model that its fields needed how long it took and why."""
    digest = await mesh.upload(jpeg(640, 480, seed=7))
    first, second = [await ask(mesh, FIELDS, id=digest) for _ in range(2)]
    assert reasons(first) == {"nsfw": "made", "ocr": "made", "total": ""}
    assert reasons(second) == {"nsfw": "stored", "ocr": "stored", "total": ""}
    assert all(took_ms is not None for took_ms, _ in timing(first).values())


async def test_a_query_that_is_kept(mesh: World):
    """What Envoy keeps of a query is a hit or revalidated, with no times of models."""
    digest = await mesh.upload(jpeg(640, 480, seed=8))
    release = (await mesh.call("GET", "/v1/releases/current")).json["release"]
    verdict = document("Verdict")
    first, again = [await get(mesh, verdict, headers=CLIENT, id=digest) for _ in range(2)]
    assert reasons(first) == {**dict.fromkeys(MODELS, "made"), "moderation": "", "total": ""}
    assert reasons(again) == {"cache": "revalidated", "total": ""}
    pinned, hit = [
        await get(mesh, verdict, release=release, headers=CLIENT, id=digest) for _ in range(2)
    ]
    assert reasons(pinned).keys() == {*MODELS, "moderation", "total"}
    assert set(reasons(pinned).values()) <= {"stored", ""}
    assert hit.headers["server-timing"] == "cache;desc=hit"


async def test_queries_that_share_an_execution(mesh: World):
    """Who waits for what another one's query executes is told that, and none of its times."""
    digest = await mesh.upload(jpeg(640, 480, seed=9))
    with stopped(mesh, "nsfw"):
        tasks = [asyncio.create_task(ask(mesh, FIELDS, id=digest)) for _ in range(2)]

        async def there() -> bool:
            return mesh.stats("^http.edge.downstream_rq_active$").popitem()[1] == 2

        await until(there, "two requests in flight")
    answers = await asyncio.gather(*tasks)
    assert json.loads(answers[0].body) == json.loads(answers[1].body)
    ways = sorted(reasons(answer)["nsfw"] for answer in answers)
    assert ways in (["joined", "made"], ["made", "stored"])


async def test_what_needs_no_model(mesh: World):
    """An answer that no model is needed for says how long it took."""
    assert reasons(await mesh.call("GET", "/v1/models")) in (
        {"total": ""},
        {"cache": "revalidated", "total": ""},
    )
