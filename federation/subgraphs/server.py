"""An HTTP server for subgraphs, as a process and tests run it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog
from aiohttp import web
from aiohttp.log import access_logger
from prometheus_client import CollectorRegistry

from federation.subgraphs.app import create_app
from federation.subgraphs.schemas import SUBGRAPHS
from federation.subgraphs.settings import SubgraphSettings
from services.client.mesh import MeshClient
from services.errors import InvalidArgument
from services.media.objects import Objects
from services.serving.diagnostics import Diagnostics
from services.serving.ending import GRACE_S, Ending
from services.serving.metrics import exposed, registry_of
from services.serving.spans import Recorder
from services.serving.telemetry import recording

KEEPALIVE_S: Final = 90.0
"""How long an idle connection stays open: longer than the gateway keeps its own end of it."""

COLLECTIONS: Final = (2000, 20, 50)
"""When the collector looks: executing a query makes thousands of objects that live for a moment."""

_log = structlog.get_logger()


def chosen(names: str) -> tuple[str, ...]:
    """The subgraphs of a list with commas, all when it is empty. Raises InvalidArgument."""
    if not names:
        return tuple(SUBGRAPHS)
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    if unknown := [name for name in wanted if name not in SUBGRAPHS]:
        known = ", ".join(SUBGRAPHS)
        raise InvalidArgument(
            f"subgraphs: there is no {unknown[0]!r}; there are: {known}",
            field="subgraphs",
            limit=known,
        )
    return wanted


@asynccontextmanager
async def subgraph_server(
    settings: SubgraphSettings,
    mesh: MeshClient,
    objects: Objects,
    names: Sequence[str],
    recorder: Recorder | None = None,
    ending: Ending | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[int]:
    """Serve subgraphs and yield the port; on leaving, drain for up to `GRACE_S` seconds.

    Port 0 takes any free one. Raises OSError when the port is taken.
    """
    runner = web.AppRunner(
        create_app(settings, mesh, objects, names, recorder, ending, registry),
        # The gateway hanging up ends the work on its request.
        handler_cancellation=True,
        access_log=access_logger if settings.access_log else None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=GRACE_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def serve(settings: SubgraphSettings, client: type[MeshClient] = MeshClient) -> None:
    """Serve until it is asked to end, then finish what is in flight.

    `client` is how the mesh is asked. Raises OSError when the port is taken, VisionmeshError when
    the object store cannot be opened or a subgraph is not known.
    """
    ending = Ending.by_signals(settings.lame_duck_s)
    names = chosen(settings.subgraphs)
    objects = Objects.open(settings.object_store)
    diagnostics = Diagnostics()
    registry = registry_of("subgraphs", diagnostics)
    async with (
        exposed(registry, settings.metrics_host, settings.metrics_port) as metrics_port,
        recording("subgraphs", f"{settings.host}:{settings.port}", diagnostics) as recorder,
        client(settings.mesh_address, token=settings.token) as mesh,
        subgraph_server(settings, mesh, objects, names, recorder, ending, registry) as port,
    ):
        # What is there now stays: the collector need not look at it again with every request.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTIONS)
        address = f"{settings.host}:{port}"
        _log.info("serving", address=address, subgraphs=names, metrics_port=metrics_port)
        await ending.wait()
