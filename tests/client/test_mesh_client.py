"""The client of the mesh over real gRPC."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mesh.ports import HOST
from services import errors
from services.client.mesh import DIGEST_HEADER, MeshClient
from services.serving import deadline, tracing
from tests.envoy import replica
from tests.support.mesh import FakeNsfw, adding, digests, mesh_of
from visionmesh.common.v1.image_pb2 import ImageRef

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def refs(count: int) -> list[ImageRef]:
    return [ImageRef(digest=digest) for digest in digests(count)]


async def test_outcomes_keep_their_order():
    """A batch comes back in the order in which it was asked."""
    nsfw = FakeNsfw()
    nsfw.scores = {digest: index / 10 for index, digest in enumerate(digests(5))}
    async with mesh_of(adding(nsfw)) as mesh:
        outcomes = await mesh.classify(refs(5)[::-1])
    assert [round(outcome.result.score, 1) for outcome in outcomes] == [0.4, 0.3, 0.2, 0.1, 0.0]


async def test_continues_the_trace():
    """A call carries the current trace to the servicer."""
    nsfw = FakeNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        tracing.adopt(PARENT)
        await mesh.classify(refs(1))
    assert nsfw.trace_ids == [PARENT.split("-")[1]]


async def test_names_a_single_image():
    """A call about one image names it in a header; a batch does not."""
    nsfw = FakeNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        await mesh.classify(refs(1))
        await mesh.classify(refs(2))
    assert [metadata.get(DIGEST_HEADER) for metadata in nsfw.metadata] == [digests(1)[0], None]


async def test_rubbish_is_an_internal_error():
    """Bytes that are no such message are a fault inside, not an answer of None."""
    async with replica.serving("rubbish") as rubbish, MeshClient(f"{HOST}:{rubbish.port}") as mesh:
        with pytest.raises(errors.Internal):
            await mesh.classify(refs(1))


async def test_deadline_shrinks_on_the_way():
    """The servicer has less time than its caller, and never more than the request."""
    nsfw = FakeNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        with deadline.limit(2.0):
            await mesh.classify(refs(1))
        await mesh.classify(refs(1), timeout_s=5.0)
    within_request, own = nsfw.remaining_s
    assert within_request is not None
    assert within_request <= 1.9 * 1.01  # gRPC rounds what it writes on the wire up, by a percent
    assert own is not None
    assert own <= 5.0 * 1.01


async def test_hanging_service_ends_by_the_deadline():
    """A service that never answers is DeadlineExceeded, and its work is cancelled."""
    nsfw = FakeNsfw()
    nsfw.hanging = True
    async with mesh_of(adding(nsfw)) as mesh:
        with pytest.raises(errors.DeadlineExceeded):
            await mesh.classify(refs(1), timeout_s=0.2)
        await asyncio.wait_for(nsfw.cancelled.wait(), 10)


async def test_no_time_left_calls_nobody():
    """A request whose time is over does not reach the service."""
    nsfw = FakeNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        with deadline.limit(0.0), pytest.raises(errors.DeadlineExceeded):
            await mesh.classify(refs(1))
    assert nsfw.calls == []


async def test_unreachable_model():
    """Nobody listening is ModelUnavailable, and names the model instead of the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with MeshClient(f"127.0.0.1:{port}") as mesh:
            with pytest.raises(errors.ModelUnavailable) as failure:
                await mesh.classify(refs(1), timeout_s=5.0)
    assert "'nsfw'" in failure.value.message
    assert str(port) not in failure.value.message


async def test_domain_error_comes_back():
    """An error that the servicer raises is raised here, with its field and limit."""
    nsfw = FakeNsfw()
    nsfw.error = errors.Overloaded("the queue is full", limit="64 images")
    async with mesh_of(adding(nsfw)) as mesh:
        with pytest.raises(errors.Overloaded, match="the queue is full") as failure:
            await mesh.classify(refs(1))
    assert failure.value.limit == "64 images"


async def test_internals_stay_inside():
    """A bug in a servicer reaches the client as an internal error without its words."""
    nsfw = FakeNsfw()
    nsfw.error = RuntimeError("password is hunter2")
    async with mesh_of(adding(nsfw)) as mesh:
        with pytest.raises(errors.Internal) as failure:
            await mesh.classify(refs(1))
    assert failure.value.message == "internal error"


async def test_unknown_model():
    """A model that is not in the mesh is ModelNotFound, and the known ones are named."""
    async with mesh_of(adding(FakeNsfw())) as mesh:
        with pytest.raises(errors.ModelNotFound, match="nsfw"):
            await mesh.get_model("mind-reading")
