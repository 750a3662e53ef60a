"""What all processes of a mesh write down about requests, and what they never do."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from services import catalog
from services.moderation.settings import PACKAGED_POLICIES
from tests.ocr.pictures import encoded, written
from tests.support.graph import ask
from tests.support.photos import jpeg
from tests.support.whole import World, until, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = {process.name for process in catalog.MODELS}
WORDS = "QUARTERLY FIGURES"


@dataclass
class Logged:
    """A mesh that logs all that it can, and what it has written so far."""

    world: World
    stream: io.StringIO

    @property
    def text(self) -> str:
        return self.stream.getvalue() + (self.world.mesh.data.logs / "access.log").read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    async def until_of(self, trace_id: str, *processes: str) -> list[dict[str, Any]]:
        """Wait until these processes have said something of a trace; all that was said of it."""

        async def found() -> list[dict[str, Any]] | None:
            lines = [line for line in self.lines if line.get("trace_id") == trace_id]
            return lines if {line["process"] for line in lines} >= set(processes) else None

        return await until(found, f"lines of {processes} with {trace_id}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Logged]:
    stream = io.StringIO()
    policies = {"VISIONMESH_POLICIES_DIR": str(PACKAGED_POLICIES)}
    async with world(
        tmp_path_factory.mktemp("mesh"),
        tenants=("acme",),
        replica_env={("moderation", 0): policies},
        log_level="debug",
        log_json=True,
        stream=stream,
    ) as running:
        yield Logged(running, stream)


@pytest.fixture(scope="module")
def page() -> bytes:
    return encoded(written(WORDS), "PNG")


async def test_lines_name_the_trace(mesh: Logged, page: bytes):
    """Each process that has to do with a request says so under its trace id."""
    answer = await mesh.world.call("POST", "/v1/moderations", data=page, content_type="image/png")
    assert answer.status == 200, answer.body
    await mesh.until_of(answer.headers["x-trace-id"], "rest", "images", "moderation", *MODELS)
    digest = answer.json["imageId"]
    read = await mesh.world.call("GET", f"/v1/images/{digest}/ocr")
    assert WORDS in read.body.decode()
    await mesh.until_of(read.headers["x-trace-id"], "rest", "ocr")
    found = await ask(mesh.world, "query ($id: ID!) { image(id: $id) { ocr { text } } }", id=digest)
    assert WORDS in found.data["image"]["ocr"]["text"]
    await mesh.until_of(found.headers["x-trace-id"], "gateway", "subgraphs", "ocr")
    outcomes = await mesh.world.grpc.read([ImageRef(digest=digest, data=page)])
    assert not outcomes[0].HasField("error")
    answered = [line for line in mesh.lines if line["event"] == "answered"]
    assert all(set(line["trace_id"]) != {"0"} for line in answered)
    assert all(len(line["trace_id"]) == 32 for line in answered)


async def test_what_goes_wrong_names_the_trace(mesh: Logged):
    """What is lost on the way to an answer is a warning with the answer's trace id."""
    digest = await mesh.world.upload(jpeg(320, 240, seed=1))
    pid = mesh.world.mesh.pid("logo")
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = await mesh.world.call(
            "GET", f"/v1/images/{digest}/moderation", x_request_timeout_ms="1500"
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    lines = await mesh.until_of(answer.headers["x-trace-id"], "moderation")
    assert "model did not answer" in {line["event"] for line in lines if line["level"] == "warning"}


async def test_every_line_is_json(mesh: Logged):
    """All lines, Envoy's and the launcher's too, are objects with a time, a level and an event."""
    await mesh.world.call("GET", "/v1/models", tenant="")
    pid = mesh.world.mesh.pid("nsfw")
    os.kill(pid, signal.SIGKILL)
    await mesh.world.mesh.wait_restarted("nsfw", pid)
    for line in mesh.lines:
        assert line.keys() >= {"timestamp", "level", "event", "service"}, line
    services = {line["service"] for line in mesh.lines}
    assert services >= {process.name for process in catalog.PROCESSES} | {"visionmesh"}
    for file in mesh.world.mesh.data.logs.iterdir():
        assert all(isinstance(json.loads(line), dict) for line in file.read_text().splitlines())


async def test_what_no_line_holds(mesh: Logged, page: bytes):
    """Keys, the mesh's token, what was read in an image, and its bytes are nowhere in the log."""
    key = mesh.world.keys["acme"]
    await mesh.world.call("GET", "/v1/models", x_api_key=key)
    await mesh.world.call("GET", "/v1/models", x_api_key="", authorization=f"Bearer {key}")
    broken = await mesh.world.call(
        "POST", "/v1/images", data=page[: len(page) // 2], content_type="image/png"
    )
    assert broken.status == 422, broken.body
    await mesh.until_of(broken.headers["x-trace-id"], "rest")
    secrets = [key, mesh.world.mesh.token, *WORDS.split()]
    begun = [repr(page[:12])[2:-1], base64.b64encode(page[:24]).decode(), page[:12].hex()]
    for secret in (*secrets, *begun):
        assert secret not in mesh.text
    assert len(mesh.lines) > 50
