"""Each model in turn is killed, hangs, or answers rubbish: the graph says the rest of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
import pytest_asyncio

from mesh import admin
from mesh.ports import HOST
from mesh.proxy import write_endpoints
from services import catalog
from tests.envoy import replica
from tests.faults.world import NAMES, every_model, judging_world, stopped
from tests.support.graph import GraphAnswer, ask
from tests.support.photos import jpeg
from tests.support.whole import World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT_S = 5.0

QUERY = """
query ($id: ID!) {
  image(id: $id) {
    width
    nsfw { score }
    detection { detections { label } }
    ocr { text }
    logo { logos { brand } }
    moderation { isCompliant missing rejectionReasons(first: 9) { code } }
    strict: moderation(policy: "rejects") {
      isCompliant missing rejectionReasons(first: 9) { code }
    }
  }
}
"""

CODES = {"MODEL_UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with judging_world(tmp_path_factory) as running:
        yield running


@asynccontextmanager
async def killed(mesh: World, name: str) -> AsyncIterator[None]:
    """A process that has just died; afterwards it has been started again."""
    old = mesh.mesh.pid(name)
    os.kill(old, signal.SIGKILL)
    yield
    await mesh.mesh.wait_restarted(name, old)


@asynccontextmanager
async def hanging(mesh: World, name: str) -> AsyncIterator[None]:
    """A process that neither answers nor goes away."""
    with stopped(mesh.mesh.pid(name)):
        yield


@asynccontextmanager
async def rubbish(mesh: World, name: str, answer: str) -> AsyncIterator[None]:
    """Something that is healthy and answers every call with the same bytes, in place of a model."""
    port = catalog.BY_NAME[name].port(mesh.mesh.options.port)
    async with replica.serving(answer) as serving:
        await _sent_to(mesh, name, serving.port)
        yield
        await _sent_to(mesh, name, port)


async def _sent_to(mesh: World, name: str, port: int) -> None:
    write_endpoints(mesh.mesh.data.endpoints, name, [(HOST, port)])
    await until(partial(_routed, mesh, name, port), f"{name} is at {port}")


async def _routed(mesh: World, name: str, port: int) -> bool:
    found = await asyncio.to_thread(admin.healthy_ports, mesh.mesh.options.admin_port)
    return found[name] == {port}


FAULTS: dict[str, Callable[[World, str], AbstractAsyncContextManager[None]]] = {
    "killed": killed,
    "hanging": hanging,
    "rubbish": partial(rubbish, answer="rubbish"),
    "nothing": partial(rubbish, answer=""),
}


async def answered(mesh: World, digest: str) -> GraphAnswer:
    """An answer, which must be there before its deadline is over."""
    begun = time.monotonic()
    headers = {"x_request_timeout_ms": str(int(1000 * TIMEOUT_S))}
    answer = await ask(mesh, QUERY, headers=headers, id=digest)
    assert time.monotonic() - begun < TIMEOUT_S
    assert answer.status == 200, answer.body
    return answer


async def until_whole(mesh: World, digest: str) -> None:
    async def whole() -> bool:
        return not (await answered(mesh, digest)).places

    await until(whole, "every model answers again")


@every_model
@pytest.mark.parametrize("fault", FAULTS)
async def test_lost_model_is_one_null_field(mesh: World, process: catalog.Process, fault: str):
    """The other fields are there, with one error for the lost one; a verdict fails closed."""
    lost = process.name
    seed = 1000 * list(FAULTS).index(fault) + catalog.MODELS.index(process)
    digest = await mesh.upload(jpeg(320, 240, seed=seed))
    async with FAULTS[fault](mesh, lost):
        answer = await answered(mesh, digest)
    image = answer.data["image"]
    assert image["width"] == 320
    assert {name for name in NAMES if image[name] is None} == {lost}
    assert set(answer.places) == {("image", lost)}
    assert answer.places["image", lost] in CODES
    assert b"127.0.0.1" not in answer.body
    assert image["moderation"]["isCompliant"] is None
    assert image["strict"]["isCompliant"] is False
    assert image["moderation"]["missing"] == image["strict"]["missing"] == [lost]
    assert {reason["code"] for reason in image["strict"]["rejectionReasons"]} == {
        name.upper() for name in NAMES if name != lost
    }
    await until_whole(mesh, digest)


async def test_lost_verdicts_are_one_null_field(mesh: World):
    """Without moderation what the models see is there, and the verdict is an error."""
    digest = await mesh.upload(jpeg(320, 240, seed=9000))
    async with killed(mesh, "moderation"):
        answer = await answered(mesh, digest)
    assert all(answer.data["image"][name] for name in NAMES)
    assert set(answer.places) == {("image", "moderation"), ("image", "strict")}
    await until_whole(mesh, digest)


async def test_lost_graph_comes_back(mesh: World):
    """A gateway that died is a problem in Envoy's words, and its successor answers."""
    digest = await mesh.upload(jpeg(320, 240, seed=9001))
    async with killed(mesh, "gateway"):
        answer = await ask(mesh, QUERY, id=digest)
        assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
    await until_whole(mesh, digest)


async def test_lost_subgraphs_are_errors_of_the_graph(mesh: World):
    """A gateway without subgraphs answers with an error of its own, and then they are back."""
    digest = await mesh.upload(jpeg(320, 240, seed=9002))
    async with killed(mesh, "subgraphs"):
        answer = await answered(mesh, digest)
        assert answer.data == {"image": None}
        assert answer.places == {("image",): "UNAVAILABLE"}
    await until_whole(mesh, digest)
