"""Deadlines, clients that leave, and what is under way when the facade stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.client.mesh import MeshClient
from services.rest.server import rest_server
from services.rest.settings import RestSettings
from tests.rest import wire
from tests.rest.world import World, digest_of, world

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = PARENT.split("-")[1]

WAIT_S = 10.0  # less than the deadline, which would cancel as well


async def test_hanging_model_is_a_504(rest: World, jpeg: bytes):
    """A model that never answers is a 504 within the time that the client gave."""
    rest.model.hanging = True
    path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
    answer = await rest.get(path, x_request_timeout_ms="300")
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_hanging_model_is_missing(rest: World, jpeg: bytes):
    """A verdict arrives within the deadline although its model does not; it names the model."""
    rest.model.hanging = True
    path = f"/v1/images/{await rest.upload(jpeg)}/moderation"
    answer = await rest.get(path, x_request_timeout_ms="1000")
    assert answer.status == 200
    assert answer.json["decision"] == "UNDETERMINED"
    assert answer.json["missing"] == ["nsfw"]
    assert [failure["code"] for failure in answer.json["errors"]] == ["DEADLINE_EXCEEDED"]
    assert answer.headers["Cache-Control"] == "no-store"


async def test_hanging_store_is_a_504(rest: World, jpeg: bytes):
    """The facade itself answers in time when the service behind it does not."""
    rest.images.gate.clear()
    answer = await rest.post("/v1/images", jpeg, x_request_timeout_ms="200")
    assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")
    rest.images.gate.set()


@pytest.mark.parametrize("query", ["", "?policy=strict"])
async def test_hanging_policies_are_a_504(tmp_path: Path, jpeg: bytes, query: str):
    """The client's time also bounds the question which policies there are."""
    async with world(tmp_path, policies_hang=True) as rest:
        path = f"/v1/moderations{query}"
        answer = await rest.post(path, jpeg, x_request_timeout_ms="100")
        assert (answer.status, answer.json["code"]) == (504, "DEADLINE_EXCEEDED")
        assert answer.json["limit"] == "100 ms"
        assert rest.images.uploads == 0


async def test_slow_body_is_a_408(tmp_path: Path, jpeg: bytes):
    """A body that stops arriving is refused, however much time its work would have had."""
    async with world(tmp_path, body_timeout_s=0.1) as rest:
        head = {"Content_Type": "image/jpeg", "Content_Length": str(len(jpeg))}
        async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
            await sent.send(jpeg[:100])
            answer = await sent.answer()
        assert answer.status == 408
        assert wire.problem_of(answer)["limit"] == "0.1 s"
        assert rest.images.uploads == 0


async def test_leaving_client_cancels_the_work(rest: World, jpeg: bytes):
    """When a client hangs up, the inference that it waited for is cancelled."""
    rest.model.hanging = True
    path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
    async with wire.request(rest.port, "GET", path):
        await asyncio.wait_for(rest.model.looking.wait(), WAIT_S)
    await asyncio.wait_for(rest.model.cancelled.wait(), WAIT_S)


async def test_leaving_client_does_not_undo_its_upload(rest: World, jpeg: bytes):
    """An upload that has reached the images service is stored although its client has gone."""
    rest.images.gate.clear()
    head = {"Content_Type": "image/jpeg", "Content_Length": str(len(jpeg))}
    async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
        await sent.send(jpeg)
        await asyncio.wait_for(rest.images.arrived.wait(), WAIT_S)
    # The facade has seen it go when it answers what was asked later on another connection.
    assert (await rest.get("/healthz")).status == 200
    rest.images.gate.set()
    await asyncio.wait_for(rest.images.stored.wait(), WAIT_S)
    assert (await rest.ask("HEAD", f"/v1/images/{digest_of(jpeg)}")).status == 200


async def test_drains_before_it_stops(rest: World, jpeg: bytes):
    """A request in flight is answered although the facade was asked to stop meanwhile."""
    rest.images.gate.clear()
    stop = asyncio.Event()
    ports: asyncio.Queue[int] = asyncio.Queue()

    async def second_facade() -> None:
        async with (
            MeshClient(f"127.0.0.1:{rest.mesh_port}") as mesh,
            rest_server(RestSettings(port=0), mesh, rest.objects) as port,
        ):
            await ports.put(port)
            await stop.wait()

    stopping = asyncio.create_task(second_facade())
    head = {"Content_Type": "image/jpeg", "Content_Length": str(len(jpeg))}
    async with wire.request(await ports.get(), "POST", "/v1/images", **head) as sent:
        await sent.send(jpeg)
        await asyncio.wait_for(rest.images.arrived.wait(), WAIT_S)
        stop.set()
        rest.images.gate.set()
        assert (await sent.answer()).status == 201
    await asyncio.wait_for(stopping, WAIT_S)


async def test_trace_is_continued(rest: World):
    """The client's trace names the request, in the header and in the problem."""
    answer = await rest.get("/v1/models/nothing", traceparent=PARENT)
    assert answer.headers["x-trace-id"] == TRACE
    assert answer.json["traceId"] == TRACE


async def test_malformed_trace_is_replaced(rest: World):
    """A malformed traceparent is no error, and every request has a trace of its own."""
    answers = [await rest.get("/healthz", traceparent="nonsense") for _ in range(2)]
    ids = {answer.headers["x-trace-id"] for answer in answers}
    assert len(ids) == 2
    assert "0" * 32 not in ids
