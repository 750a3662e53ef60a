"""Spans of calls, results and inferences, as a collector gets them over real OTLP."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from services import errors
from services.client.mesh import MeshClient
from services.inference.batching import BatchingEngine
from services.inference.engine import Tensors
from services.inference.onnx import OnnxEngine
from services.inference.turns import Slots
from services.media.objects import Objects
from services.serving import attributes, tracing
from services.serving.server import grpc_server
from services.serving.spans import RecordedSpan, Recorder
from tests.inference.tiny import one_operator
from tests.serving.requests import PARENT, SPAN, TRACE, in_request
from tests.serving.world import World
from tests.support.collector import Collector, Span
from tests.support.mesh import FakeNsfw, adding, digests, registering
from tests.support.whole import PATIENCE_S, until
from visionmesh.common.v1.image_pb2 import ImageRef

CLASSIFY = "visionmesh.nsfw.v1.NsfwService/Classify"


@asynccontextmanager
async def nsfw_mesh(nsfw: FakeNsfw, recorder: Recorder | None) -> AsyncIterator[MeshClient]:
    async with (
        grpc_server(registering(adding(nsfw)), recorder=recorder) as port,
        MeshClient(f"127.0.0.1:{port}") as mesh,
    ):
        yield mesh


async def spans_named(collected: Collector, *names: str) -> list[Span]:
    """One span of each name, once all of them are there."""
    found = await collected.until(
        lambda spans: {span.name for span in spans} >= set(names), f"spans {names}"
    )
    return [next(span for span in found if span.name == name) for name in names]


async def test_a_call_is_two_spans(collected: Collector, recorder: Recorder):
    """The caller's span is below the request, the callee's below the caller's, in one trace."""
    ref = ImageRef(digest=digests(1)[0])
    async with nsfw_mesh(FakeNsfw(), recorder) as mesh:
        await in_request(recorder, lambda: mesh.classify([ref]), state="vendor=1")
    await spans_named(collected, "request", CLASSIFY)
    found = await collected.until(lambda spans: len(spans) == 3, "three spans")
    by_kind = {span.kind: span for span in found if span.name == CLASSIFY}
    client, server = by_kind["client"], by_kind["server"]
    (request,) = collected.named("request")
    assert (request.trace_id, request.parent_id) == (TRACE, SPAN)
    assert (client.parent_id, server.parent_id) == (request.span_id, client.span_id)
    assert {span.trace_id for span in found} == {TRACE}
    assert {span.state for span in found} == {"vendor=1"}
    said = {"rpc.system.name": "grpc", "rpc.method": CLASSIFY, "rpc.response.status_code": "OK"}
    assert server.attributes == said
    assert client.attributes.items() > said.items()
    assert client.attributes["server.address"] == "127.0.0.1"
    assert server.start_ns >= client.start_ns > 0
    assert server.end_ns <= client.end_ns
    assert not any(span.failed for span in found)
    assert (
        server.resource.items()
        >= {
            "service.name": "toy",
            "service.namespace": "visionmesh",
            "service.instance.id": "127.0.0.1:1",
        }.items()
    )


@pytest.mark.parametrize(
    ("error", "code", "server_failed"),
    [
        (errors.ModelUnavailable("gone"), "UNAVAILABLE", True),
        (errors.InvalidArgument("bad"), "INVALID_ARGUMENT", False),
        (ValueError("a secret"), "INTERNAL", True),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
async def test_a_failed_call(
    collected: Collector, recorder: Recorder, error: Exception, code: str, server_failed: bool
):
    """Both spans name the status; what is the client's fault is no failure of the server's."""
    nsfw = FakeNsfw()
    nsfw.error = error
    ref = ImageRef(digest=digests(1)[0])
    async with nsfw_mesh(nsfw, recorder) as mesh:
        with pytest.raises(errors.VisionmeshError):
            await in_request(recorder, lambda: mesh.classify([ref]))
    found = await collected.until(lambda spans: len(spans) == 3, "three spans")
    for span in found:
        if span.name == CLASSIFY:
            assert span.attributes["rpc.response.status_code"] == code
            assert span.failed is (server_failed or span.kind == "client")
            assert span.attributes.get("error.type") == (code if span.failed else None)
    assert "secret" not in str(found)


async def test_a_call_that_is_given_up(collected: Collector, recorder: Recorder):
    """A caller that runs out of time is told so, and the callee's span ends too."""
    nsfw = FakeNsfw()
    nsfw.hanging = True
    ref = ImageRef(digest=digests(1)[0])
    async with nsfw_mesh(nsfw, recorder) as mesh:
        with pytest.raises(errors.DeadlineExceeded):
            await in_request(recorder, lambda: mesh.classify([ref], timeout_s=0.2))
        found = await collected.until(lambda spans: len(spans) == 3, "three spans")
    by_kind = {span.kind: span for span in found if span.name == CLASSIFY}
    assert by_kind["client"].attributes["error.type"] == "DEADLINE_EXCEEDED"
    assert by_kind["server"].attributes["rpc.response.status_code"] != "OK"


async def test_a_result_is_made_found_and_joined(
    collected: Collector, recorder: Recorder, tmp_path: Path
):
    """Who makes a result has it as a span, who comes meanwhile links to it, and who comes later
    has the tier where it was found."""
    world = World(Objects.open(tmp_path))
    try:
        ref = await world.photo()
        world.model.hold = asyncio.Event()
        first = asyncio.create_task(in_request(recorder, lambda: world.look(ref), PARENT))
        await world.model.entered.wait()
        second = asyncio.create_task(in_request(recorder, lambda: world.look(ref), None))

        async def came() -> bool:
            return world.diagnostics.counters["flights.joined"] == 1

        await until(came, "a second who joins")
        world.model.hold.set()
        await asyncio.gather(first, second)
        await in_request(recorder, lambda: world.look(ref), None)
    finally:
        await world.close()
    found = await collected.until(lambda spans: len(spans) == 4, "four spans")
    (result,) = collected.named("result")
    made, joined, hit = sorted(collected.named("request"), key=lambda span: span.start_ns)
    assert (result.parent_id, result.trace_id) == (made.span_id, TRACE)
    assert result.event_names == ["result.miss"]
    assert result.attributes == {
        "visionmesh.model.name": "counting",
        "visionmesh.model.version": world.model.version,
    }
    assert joined.event_names == ["result.joined"]
    assert joined.links == [(TRACE, result.span_id)]
    assert hit.events == [("result.hit", {"visionmesh.result.tier": "memory"})]
    assert len({span.trace_id for span in found}) == 3


async def test_a_result_that_cannot_be_made(
    collected: Collector, recorder: Recorder, tmp_path: Path
):
    """A model that fails is a failed span, named by its error and not by what it says."""
    world = World(Objects.open(tmp_path))
    world.model.fail = lambda _: RuntimeError("what the log is for")
    try:
        ref = await world.photo()
        (outcome,) = await in_request(recorder, lambda: world.look(ref))
        assert outcome.error
    finally:
        await world.close()
    result, request = await spans_named(collected, "result", "request")
    assert result.failed
    assert result.attributes["error.type"] == "RuntimeError"
    assert ("outcome.failed", {"error.type": "RuntimeError"}) in request.events
    assert "log is for" not in str(collected.spans)


async def test_an_inference_is_three_spans(
    collected: Collector, recorder: Recorder, tmp_path: Path
):
    """Waiting, preparing and running follow one another, below who asked."""
    model = tmp_path / "model.onnx"
    model.write_bytes(one_operator("Log", {"x": ("batch", 2)}, "y"))

    def no_inputs() -> Tensors:
        raise ZeroDivisionError

    engine = OnnxEngine(model, precision="fp32")
    await engine.load()
    try:
        await in_request(recorder, lambda: engine.infer(lambda: {"x": np.ones((2, 2), np.float32)}))
        with pytest.raises(ZeroDivisionError):
            await in_request(recorder, lambda: engine.infer(no_inputs), None)
    finally:
        await engine.close()
    found = await collected.until(lambda spans: len(spans) == 7, "seven spans")
    mine = {span.name: span for span in found if span.trace_id == TRACE}
    phases = [mine[name] for name in ("queue", "preprocess", "inference")]
    assert {span.parent_id for span in phases} == {mine["request"].span_id}
    for before, after in itertools.pairwise(phases):
        assert before.start_ns <= before.end_ns == after.start_ns <= after.end_ns
    assert phases[2].attributes == {
        "visionmesh.engine.name": "onnxruntime",
        "visionmesh.model.file": "model.onnx",
        "visionmesh.batch.size": 2,
    }
    failed = [span.name for span in found if span.failed]
    assert failed == ["preprocess"]


async def test_a_batch_links_to_its_requests(collected: Collector, recorder: Recorder):
    """What is done for several at once is one span, and each of them leads there."""
    members = [
        tracing.enter(recorder, "request", parent, None, {}) for parent in (None, PARENT, None)
    ]
    requests = [member for member in members if isinstance(member, RecordedSpan)]
    with tracing.together("batch", [None, *requests], {attributes.BATCH_SIZE: 4}):
        tracing.event("inside")
    with tracing.together("batch", [None, None]):
        assert tracing.current() is None
        assert not tracing.active()
    for request in requests:
        request.end()
    found = await collected.until(lambda spans: len(spans) == 4, "four spans")
    (batch,) = collected.named("batch")
    others = [span for span in found if span is not batch]
    assert sorted(batch.links) == sorted((span.trace_id, span.span_id) for span in others)
    assert {tuple(span.links) for span in others} == {((batch.trace_id, batch.span_id),)}
    assert batch.parent_id == f"{requests[0].context.span_id:016x}"
    assert batch.event_names == ["inside"]


async def test_an_inference_for_several_is_below_their_batch(
    collected: Collector, recorder: Recorder, tmp_path: Path
):
    """Requests that ride together are in one batch span, and the engine's spans are below it."""
    model = tmp_path / "model.onnx"
    model.write_bytes(one_operator("Log", {"x": ("batch", 2)}, "y"))
    engine = BatchingEngine(
        OnnxEngine(model, precision="fp32"), concurrency=1, size=2, wait_s=PATIENCE_S
    )
    await engine.load()
    ones = {"x": np.ones((1, 2), np.float32)}
    try:
        await asyncio.gather(
            in_request(recorder, lambda: engine.infer(ones)),
            in_request(recorder, lambda: engine.infer(ones), None),
        )
    finally:
        await engine.close()
    batch, inference = await spans_named(collected, "batch", "inference")
    found = await collected.until(lambda spans: len(spans) == 8, "eight spans")
    requests = [span for span in found if span.name == "request"]
    assert sorted(batch.links) == sorted((span.trace_id, span.span_id) for span in requests)
    assert batch.attributes[attributes.BATCH_SIZE] == 2
    assert inference.parent_id == batch.span_id
    turns = {span.parent_id: span for span in found if span.name == "turn"}
    assert turns.keys() == {span.span_id for span in requests}
    assert max(turn.end_ns for turn in turns.values()) <= inference.start_ns


async def test_who_leaves_before_its_turn_shows_where_it_waited(
    collected: Collector, recorder: Recorder
):
    """A turn that never came is a failed span; who finds room at once waits for none."""
    slots = Slots(1)

    async def through() -> None:
        async with slots:
            pass

    async def queued() -> bool:
        return slots.waiting == 1

    async with slots:
        waiting = asyncio.create_task(in_request(recorder, through))
        await until(queued, "somebody waits")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await in_request(recorder, through)
    found = await collected.until(lambda spans: len(spans) == 3, "three spans")
    (turn,) = [span for span in found if span.name == "turn"]
    assert turn.attributes["error.type"] == "CANCELLED"
