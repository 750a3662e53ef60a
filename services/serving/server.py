"""A gRPC server as every process of the mesh runs it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import structlog
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from services import catalog
from services.limits import MAX_MESSAGE_BYTES
from services.serving.diagnostics import Diagnostics, DiagnosticsServicer
from services.serving.ending import GRACE_S, Ending
from services.serving.interceptor import MeshInterceptor
from services.serving.metrics import exposed, registry_of
from services.serving.rpc_metrics import RpcMetrics
from services.serving.settings import ServiceSettings
from services.serving.spans import Recorder
from services.serving.telemetry import recording
from services.serving.tenancy import Trust
from visionmesh.serving.v1.diagnostics_pb2_grpc import add_DiagnosticsServiceServicer_to_server

Register = Callable[[grpc.aio.Server], None]
"""Adds servicers to a server, as the generated `add_…Servicer_to_server` functions do."""

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A port that is taken must be an error, not a second server that gets half of the calls.
    ("grpc.so_reuseport", 0),
    # Envoy keeps its connections alive with pings; the default refuses frequent ones.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

_log = structlog.get_logger()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine on uvloop."""
    uvloop.run(main)


@asynccontextmanager
async def grpc_server(
    register: Register,
    *services: str,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    diagnostics: Diagnostics | None = None,
    recorder: Recorder | None = None,
    ending: Ending | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[int]:
    """Start a server and yield its port; on leaving, drain it for up to `GRACE_S` seconds.

    `services` are the full names of the gRPC services that are healthy once this has started.
    Port 0 takes any free one. Calls are believed who they are for when they show `token`, recorded
    as spans by the `recorder`, and measured for the `registry`. From when the `ending` begins,
    health says NOT_SERVING.
    Raises RuntimeError when the port is taken.
    """
    diagnostics = diagnostics or Diagnostics()
    interceptor = MeshInterceptor(Trust(token), diagnostics, recorder, RpcMetrics(registry))
    server = grpc.aio.server(interceptors=[interceptor], options=OPTIONS)
    register(server)
    add_DiagnosticsServiceServicer_to_server(DiagnosticsServicer(diagnostics), server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection(
        [*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    if ending is not None:
        ending.tell(healthy.enter_graceful_shutdown)
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    try:
        for service in ("", *services):
            await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
        yield bound
    finally:
        await healthy.enter_graceful_shutdown()
        await server.stop(GRACE_S)


async def serve(
    register: Register,
    name: str,
    settings: ServiceSettings,
    diagnostics: Diagnostics,
    registry: CollectorRegistry | None = None,
) -> None:
    """Serve the catalog's process of this name until it is asked to end, then finish what is in
    flight. Its `registry` is made here where nothing else measures anything. Raises OSError when
    the port of its metrics is taken."""
    service = catalog.BY_NAME[name].grpc_service or ""
    ending = Ending.by_signals(settings.lame_duck_s)
    registry = registry or registry_of(name, diagnostics)
    async with (
        exposed(registry, settings.metrics_host, settings.metrics_port) as metrics_port,
        recording(name, f"{settings.host}:{settings.port}", diagnostics) as recorder,
        grpc_server(
            register,
            service,
            host=settings.host,
            port=settings.port,
            token=settings.token,
            diagnostics=diagnostics,
            recorder=recorder,
            ending=ending,
            registry=registry,
        ) as port,
    ):
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        address = f"{settings.host}:{port}"
        _log.info("serving", grpc_service=service, address=address, metrics_port=metrics_port)
        await ending.wait()
