"""A model service's stand-in behind the mesh listener: a real gRPC server that does as it is told.

`python -m tests.envoy.replica` runs one as a process of its own, which can be stopped and killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.catalog import PROCESSES
from services.serving.server import OPTIONS

SERVICES = [process.grpc_service for process in PROCESSES if process.grpc_service]


@dataclass
class Replica:
    """Answers every method of every service with its name.

    The next `failing` calls are answered with `status`, the next `lacking` calls say that another
    replica may have what this one has not, and the next `holding` calls wait for `released` before
    they are answered.
    """

    name: str
    server: grpc.aio.Server
    port: int = 0
    status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    failing: int = 0
    lacking: int = 0
    holding: int = 0
    held: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        self.calls.append(dict(context.invocation_metadata() or ()))
        if self.holding > 0:
            self.holding -= 1
            self.held += 1
            try:
                await self.released.wait()
            finally:
                self.held -= 1
        if self.lacking > 0:
            self.lacking -= 1
            await context.send_initial_metadata((("x-visionmesh-elsewhere", "1"),))
            await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        if self.failing > 0:
            self.failing -= 1
            await context.abort(self.status, "as told")
        return self.name.encode()


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if details.method.split("/")[1] not in SERVICES:
            return None
        return grpc.unary_unary_rpc_method_handler(self._replica.answer)


@asynccontextmanager
async def serving(name: str) -> AsyncIterator[Replica]:
    """A replica on a free port, healthy."""
    server = grpc.aio.server(options=OPTIONS)
    replica = Replica(name, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for service in SERVICES:
        await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
    server.add_generic_rpc_handlers((_AnyMethod(replica),))
    replica.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield replica
    finally:
        replica.released.set()
        await server.stop(None)


async def _main() -> None:
    async with serving("process") as replica:
        print(replica.port, flush=True)
        await replica.server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main())
