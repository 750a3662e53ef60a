"""An HTTP server for the facade, as a process and tests run it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from aiohttp import web
from aiohttp.log import access_logger
from prometheus_client import CollectorRegistry

from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.rest.app import create_app
from services.rest.settings import RestSettings
from services.serving.diagnostics import Diagnostics
from services.serving.ending import GRACE_S, Ending
from services.serving.metrics import exposed, registry_of
from services.serving.spans import Recorder
from services.serving.telemetry import recording

KEEPALIVE_S: Final = 90.0
"""How long an idle connection stays open: longer than Envoy keeps its own end of it."""

READ_BUFFER_BYTES: Final = 256 * 1024
"""What is read of a body ahead of its handler: a photo in a few steps instead of dozens."""

_log = structlog.get_logger()


@asynccontextmanager
async def rest_server(
    settings: RestSettings,
    mesh: MeshClient,
    objects: Objects,
    recorder: Recorder | None = None,
    ending: Ending | None = None,
    diagnostics: Diagnostics | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[int]:
    """Start the facade and yield its port; on leaving, drain it for up to `GRACE_S` seconds.

    Port 0 takes any free one. Raises OSError when the port is taken.
    """
    runner = web.AppRunner(
        create_app(settings, mesh, objects, recorder, ending, diagnostics, registry),
        # A client that hangs up ends the work on its request.
        handler_cancellation=True,
        auto_decompress=False,
        access_log=access_logger if settings.access_log else None,
        keepalive_timeout=KEEPALIVE_S,
        read_bufsize=READ_BUFFER_BYTES,
        shutdown_timeout=GRACE_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def serve(settings: RestSettings) -> None:
    """Serve until it is asked to end, then finish what is in flight.

    Raises OSError when the port is taken, VisionmeshError when the object store cannot be opened.
    """
    ending = Ending.by_signals(settings.lame_duck_s)
    objects = Objects.open(settings.object_store)
    diagnostics = Diagnostics()
    registry = registry_of("rest", diagnostics)
    async with (
        exposed(registry, settings.metrics_host, settings.metrics_port) as metrics_port,
        recording("rest", f"{settings.host}:{settings.port}", diagnostics) as recorder,
        MeshClient(settings.mesh_address, token=settings.token) as mesh,
        rest_server(settings, mesh, objects, recorder, ending, diagnostics, registry) as port,
    ):
        # What is there now stays: the collector need not look at it again with every request.
        gc.collect()
        gc.freeze()
        _log.info("serving", address=f"{settings.host}:{port}", metrics_port=metrics_port)
        await ending.wait()
