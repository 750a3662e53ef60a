"""The server and its interceptor over real gRPC."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services import errors
from services.client.mesh import MeshClient
from services.serving.server import grpc_server
from tests.support.mesh import FakeNsfw, adding, digests, mesh_of, registering
from visionmesh.common.v1.image_pb2 import ImageRef

NSFW = "visionmesh.nsfw.v1.NsfwService"


@pytest.mark.parametrize(
    ("refs", "field", "words"),
    [
        ([], "images", "at least 1 item"),
        ([ImageRef(digest=d) for d in digests(129)], "images", "no more than 128"),
        ([ImageRef(digest="A" * 64)], "images[0].digest", "pattern"),
        ([ImageRef(digest=digests(1)[0]), ImageRef()], "images[1].digest", "pattern"),
    ],
    ids=["none", "129", "capitals", "empty digest"],
)
async def test_contract_rules_are_enforced(refs: list[ImageRef], field: str, words: str):
    """A request that breaks a rule of the contract is refused, naming field and limit."""
    nsfw = FakeNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        with pytest.raises(errors.InvalidArgument, match=words) as failure:
            await mesh.classify(refs)
    assert failure.value.field == field
    assert words in failure.value.limit
    assert nsfw.calls == []


async def test_healthy_once_started():
    """Health answers SERVING for the named service and the whole, NOT_FOUND for others."""
    async with (
        grpc_server(registering(adding(FakeNsfw())), NSFW) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", NSFW):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_taken_port_is_an_error():
    """A port on which another server listens is refused at start."""
    async with grpc_server(registering()) as port:
        with pytest.raises(RuntimeError, match=str(port)):
            async with grpc_server(registering(), port=port):
                pass


async def test_drains_before_it_stops():
    """A call in flight is answered although the server was asked to stop meanwhile."""
    started, finish = asyncio.Event(), asyncio.Event()

    class Slow(FakeNsfw):
        async def Classify(self, request, context):
            started.set()
            await finish.wait()
            return await super().Classify(request, context)

    leaving = asyncio.Event()

    async def run_server(ports: asyncio.Queue[int]) -> None:
        async with grpc_server(registering(adding(Slow()))) as port:
            await ports.put(port)
            await leaving.wait()

    ports: asyncio.Queue[int] = asyncio.Queue()
    server = asyncio.create_task(run_server(ports))
    async with MeshClient(f"127.0.0.1:{await ports.get()}") as mesh:
        call = asyncio.create_task(mesh.classify([ImageRef(digest=digests(1)[0])]))
        await started.wait()
        leaving.set()
        finish.set()
        assert len(await call) == 1
    await server
