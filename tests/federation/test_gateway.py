"""The gateway over all subgraphs: what fails nulls its own place, and equal requests share one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from services import errors
from tests.federation.gateway import (
    PAGE,
    PATIENCE_S,
    SCORES,
    UNKNOWN,
    Gateway,
    gateway,
)
from tests.federation.world import World, world


async def test_a_page_of_images_is_one_call_a_model(graph: World, front: Gateway):
    """However many images a query names, each subgraph and each model is asked once."""
    ids = await graph.stored(20)
    answer = await front.ask(PAGE, ids=ids)
    assert answer.codes == []
    assert [image["id"] for image in answer.json["data"]["images"]] == ids
    assert [len(call.images) for call in graph.nsfw.calls] == [20]
    assert [len(call.images) for call in graph.detection.calls] == [20]


async def test_a_lost_model_is_null_at_its_places(graph: World, front: Gateway):
    """A model's failure nulls its field of every image, with path and code; the rest is there."""
    ids = await graph.stored(2)
    graph.detection.error = errors.ModelUnavailable("detection is not there")
    answer = await front.ask(PAGE, ids=ids)
    assert answer.status == 200
    assert [image["nsfw"] for image in answer.json["data"]["images"]] == [{"score": 0.0}] * 2
    assert [image["detection"] for image in answer.json["data"]["images"]] == [None, None]
    assert answer.places == {
        ("images", index, "detection"): "MODEL_UNAVAILABLE" for index in range(2)
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


async def test_codes_and_fields_pass_and_internals_do_not(graph: World, front: Gateway):
    """A subgraph's code, field and limit reach the client; what was unexpected is masked."""
    (image,) = await graph.stored(1)
    graph.detection.error = RuntimeError("secret path /srv")
    answer = await front.ask(
        "query ($id: ID!) { image(id: $id) { nsfw { score } a: detection(minScore: 2) "
        "{ model { name } } b: detection { model { name } } } }",
        id=image,
    )
    assert answer.places == {("image", "a"): "INVALID_ARGUMENT", ("image", "b"): "INTERNAL"}
    first, second = sorted(answer.json["errors"], key=lambda error: error["path"])
    assert (first["extensions"]["field"], first["extensions"]["limit"]) == ("minScore", "1")
    assert second["message"] == "internal error"
    assert len(second["extensions"]["traceId"]) == 32
    assert "secret" not in answer.text


async def _broken(kind: str) -> web.Application:
    """Subgraphs of which images works and nsfw does not."""

    async def images(request: web.Request) -> web.Response:
        content = {"data": {"image": {"__typename": "Image", "id": UNKNOWN, "width": 8}}}
        return web.json_response(content, headers={"x-visionmesh-release": "a" * 16})

    async def nsfw(request: web.Request) -> web.StreamResponse:
        if kind == "late":
            await asyncio.Event().wait()
        if kind == "dead":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=500, text="<html>Traceback /srv/secret</html>")

    app = web.Application()
    app.router.add_post("/images", images)
    app.router.add_post("/nsfw", nsfw)
    return app


@pytest.mark.parametrize(
    ("kind", "code"),
    [("late", "DEADLINE_EXCEEDED"), ("dead", "MODEL_UNAVAILABLE"), ("ill", "MODEL_UNAVAILABLE")],
)
async def test_a_subgraph_without_an_answer_is_one_null_field(kind: str, code: str):
    """A subgraph that hangs, hangs up or answers nonsense nulls its field, and leaks nothing."""
    runner = web.AppRunner(await _broken(kind), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with gateway(url, VISIONMESH_SUBGRAPH_TIMEOUTS_MS="*=5000,nsfw=300") as front:
            answer = await front.ask(SCORES, id=UNKNOWN)
            assert answer.json["data"] == {"image": {"width": 8, "nsfw": None}}
            assert answer.places == {("image", "nsfw"): code}
            assert answer.headers["Cache-Control"] == "no-store"
            assert "secret" not in answer.text
            assert "127.0.0.1" not in answer.text
    finally:
        await runner.cleanup()


async def test_a_client_may_ask_for_less_time(graph: World, front: Gateway):
    """The deadline is a header's, and one that is none is refused with its limit."""
    answer = await front.ask(SCORES, {"x-request-timeout-ms": "0"}, id=UNKNOWN)
    assert answer.status == 400
    extensions = answer.json["errors"][0]["extensions"]
    assert (extensions["field"], extensions["limit"]) == ("x-request-timeout-ms", "60000 ms")


async def test_no_subgraph_at_all_is_one_error(unused_tcp_port: int):
    """Without any subgraph the root field is null, and the gateway is alive and not ready."""
    async with gateway(f"http://127.0.0.1:{unused_tcp_port}") as front:
        answer = await front.ask(SCORES, id=UNKNOWN)
        assert (await front.send("GET", "/healthz")).status == 200
        assert (await front.send("GET", "/readyz")).status == 503
    assert answer.json["data"] == {"image": None}
    assert answer.places == {("image",): "UNAVAILABLE"}


async def test_equal_requests_at_once_are_one_execution(graph: World, front: Gateway):
    """Fifty clients that ask the same at the same time cost one call of the model."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    variables = {"id": image}
    asked = [asyncio.create_task(front.get(query=SCORES, variables=variables)) for _ in range(50)]
    await front.arrived(50)
    await graph.nsfw.asked.wait()
    graph.nsfw.released.set()
    answers = await asyncio.gather(*asked)
    assert {answer.text for answer in answers} == {answers[0].text}
    assert len(graph.nsfw.calls) == 1


async def test_who_shares_an_execution_is_told_their_own_trace(graph: World, front: Gateway):
    """Errors of a shared execution name the trace of who reads them, not of who began it."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    graph.detection.error = errors.Overloaded("busy")
    traces = [f"{number:032x}" for number in range(1, 6)]
    asked = [
        asyncio.create_task(
            front.ask(PAGE, {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, ids=[image])
        )
        for trace in traces
    ]
    await front.arrived(5)
    await graph.nsfw.asked.wait()
    graph.nsfw.released.set()
    answers = await asyncio.gather(*asked)
    told = [answer.json["errors"][0]["extensions"]["traceId"] for answer in answers]
    assert told == traces
    assert len(graph.nsfw.calls) == 1


async def test_who_joins_an_execution_waits_no_longer_than_they_would(graph: World, front: Gateway):
    """A shared execution is nobody's excuse: each is answered at the deadline of their own."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    begun = asyncio.create_task(front.get(query=SCORES, variables={"id": image}))
    await graph.nsfw.asked.wait()
    less = {"x-request-timeout-ms": "100"}
    late = await front.get(less, query=SCORES, variables={"id": image})
    assert (late.status, late.json["data"]) == (200, None)
    assert late.codes == ["DEADLINE_EXCEEDED"]
    assert late.headers["Cache-Control"] == "no-store"
    assert not begun.done()
    graph.nsfw.released.set()
    assert (await begun).codes == []
    assert len(graph.nsfw.calls) == 1


async def test_who_hangs_up_is_no_error_in_the_log(graph: World, front: Gateway):
    """A client that leaves is nothing unexpected."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    for ask in (front.get(query=SCORES, variables={"id": image}), front.ask(SCORES, id=image)):
        graph.nsfw.asked.clear()
        graph.nsfw.cancelled.clear()
        left = asyncio.create_task(ask)
        await graph.nsfw.asked.wait()
        left.cancel()
        await asyncio.wait_for(graph.nsfw.cancelled.wait(), PATIENCE_S)
    graph.nsfw.released.set()
    assert (await front.ask(SCORES, id=image)).codes == []
    assert [line for line in front.logged if line["level"] == "error"] == []


async def test_only_envoy_says_for_whom_it_is(tmp_path: Path):
    """With a token, who does not show it is refused, and a tenant's images are its own."""
    token = "t" * 32
    async with (
        world(tmp_path, token=token) as graph,
        gateway(graph, VISIONMESH_TOKEN=token) as front,
    ):
        stranger = await front.ask(SCORES, {"x-visionmesh-tenant": "acme"}, id=UNKNOWN)
        nobody = await front.ask(SCORES, {"x-visionmesh-token": token}, id=UNKNOWN)
        known = {"x-visionmesh-token": token, "x-visionmesh-tenant": "acme"}
        answer = await front.ask(SCORES, known, id=UNKNOWN)
    assert (stranger.status, stranger.codes) == (401, ["UNAUTHENTICATED"])
    assert (nobody.status, nobody.codes) == (401, ["UNAUTHENTICATED"])
    assert answer.codes == ["IMAGE_NOT_FOUND"]


async def test_a_trace_goes_on(graph: World, front: Gateway):
    """Errors and calls carry the trace id that came in."""
    (image,) = await graph.stored(1)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    graph.detection.error = errors.Overloaded("busy")
    answer = await front.ask(PAGE, headers, ids=[image])
    assert answer.json["errors"][0]["extensions"]["traceId"] == trace_id
    assert graph.nsfw.trace_ids == [trace_id]


async def test_what_is_in_flight_finishes(graph: World, front: Gateway):
    """Asked to stop, the gateway answers what it has begun, and exits with 0."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    asked = asyncio.create_task(front.ask(SCORES, id=image))
    await graph.nsfw.asked.wait()
    stopping = asyncio.create_task(front.stop())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(stopping), 0.3)
    graph.nsfw.released.set()
    assert (await asked).json["data"]["image"]["nsfw"] == {"score": 0.0}
    assert await asyncio.wait_for(stopping, PATIENCE_S) == 0
