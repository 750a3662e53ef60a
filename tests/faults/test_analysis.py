"""Each model in turn hangs: an analysis has the results of the others, and an honest verdict."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services import catalog
from tests.faults.world import NAMES, every_model, judging_world, stopped
from tests.support.photos import jpeg
from tests.support.whole import Answer, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT_S = 4.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with judging_world(tmp_path_factory) as running:
        yield running


async def analysis(mesh: World, digest: str, query: str = "") -> Answer:
    """An analysis, which must be there before its deadline is over."""
    begun = time.monotonic()
    path = f"/v1/images/{digest}/analysis{query}"
    answer = await mesh.call("GET", path, x_request_timeout_ms=str(int(1000 * TIMEOUT_S)))
    assert time.monotonic() - begun < TIMEOUT_S
    assert answer.status == 200, answer.body
    return answer


async def until_back(mesh: World, digest: str) -> Answer:
    async def complete() -> Answer | None:
        answer = await mesh.call("GET", f"/v1/images/{digest}/analysis")
        return answer if answer.headers["cache-control"] == "no-cache" else None

    found: Answer = await until(complete, "every model answers again")
    return found


def check_partial(answer: Answer, lost: str) -> None:
    """One error, every other result, and nothing that anybody may keep."""
    failed = {name for name in NAMES if answer.json[name]["error"]}
    assert failed == {lost}
    assert answer.json[lost]["error"]["code"] in ("DEADLINE_EXCEEDED", "MODEL_UNAVAILABLE")
    assert all(answer.json[name]["result"] is not None for name in NAMES if name != lost)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


@every_model
async def test_hanging_model_is_one_error(mesh: World, process: catalog.Process):
    """Within the deadline come the others' results, one error, and an undetermined verdict."""
    lost, number = process.model or "", catalog.MODELS.index(process)
    digest = await mesh.upload(jpeg(320, 240, seed=100 + number))
    with stopped(mesh.mesh.pid(process.name)):
        answer = await analysis(mesh, digest)
    check_partial(answer, lost)
    verdict = answer.json["moderation"]["result"]
    assert (verdict["decision"], verdict["isCompliant"]) == ("UNDETERMINED", None)
    assert verdict["missing"] == [lost]
    assert verdict["unknownCodes"] == [lost.upper()]
    assert [error["model"] for error in verdict["errors"]] == [lost]
    whole = await until_back(mesh, digest)
    assert whole.json["moderation"]["result"]["decision"] == "APPROVED"


@every_model
async def test_another_rule_decides_without_it(mesh: World, process: catalog.Process):
    """Where another model's rule holds the verdict is given, and still says what it did not see."""
    lost, number = process.model or "", catalog.MODELS.index(process)
    digest = await mesh.upload(jpeg(320, 240, seed=200 + number))
    with stopped(mesh.mesh.pid(process.name)):
        answer = await analysis(mesh, digest, "?policy=rejects")
    check_partial(answer, lost)
    verdict = answer.json["moderation"]["result"]
    assert (verdict["decision"], verdict["isCompliant"]) == ("REJECTED", False)
    assert {reason["code"] for reason in verdict["rejectionReasons"]} == {
        name.upper() for name in NAMES if name != lost
    }
    assert (verdict["missing"], verdict["unknownCodes"]) == ([lost], [lost.upper()])
    await until_back(mesh, digest)


@every_model
async def test_what_it_saw_before_stays(mesh: World, process: catalog.Process):
    """An image that the model has seen keeps a complete answer while the model hangs."""
    digest = await mesh.upload(jpeg(320, 240, seed=300 + catalog.MODELS.index(process)))
    before = await until_back(mesh, digest)
    with stopped(mesh.mesh.pid(process.name)):
        answer = await analysis(mesh, digest)
        assert answer.body == before.body
        tag = before.headers["etag"]
        path = f"/v1/images/{digest}/analysis"
        assert (await mesh.call("GET", path, if_none_match=tag)).status == 304
    await until_back(mesh, digest)
