"""An aiohttp application that serves subgraphs, each at its own path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry

from federation.subgraphs.endpoints import Endpoints, Subgraph
from federation.subgraphs.schemas import SUBGRAPHS
from federation.subgraphs.settings import SubgraphSettings
from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.media.store import ImageStore
from services.releases.releases import Releases
from services.rest.bodies import BodyReader
from services.serving.connections import close_at_the_end
from services.serving.ending import Ending
from services.serving.http_metrics import HttpMetrics
from services.serving.spans import Recorder
from services.serving.tenancy import Trust


def create_app(
    settings: SubgraphSettings,
    mesh: MeshClient,
    objects: Objects,
    names: Iterable[str],
    recorder: Recorder | None = None,
    ending: Ending | None = None,
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """The application. It uses `mesh` and does not close it; `recorder` takes its spans, and it is
    measured for the `registry`.

    From when the `ending` begins, it is neither healthy nor ready.
    """
    ending = ending or Ending()
    images = ImageStore(objects)
    releases = Releases(objects, mesh, ttl_s=settings.versions_ttl_s)
    bodies = BodyReader(settings.upload_budget_bytes, settings.body_timeout_s)
    subgraphs = {name: Subgraph(SUBGRAPHS[name](), mesh, images, releases) for name in names}
    trust, measured = Trust(settings.token), HttpMetrics(registry)
    app = web.Application(client_max_size=0)
    endpoints = Endpoints(subgraphs, images, releases, bodies, trust, measured, recorder)
    endpoints.add_to(app.router)

    async def healthz(_request: web.Request) -> web.Response:
        status = HTTPStatus.SERVICE_UNAVAILABLE if ending.begun else HTTPStatus.OK
        return web.json_response({"status": "ending" if ending.begun else "ok"}, status=status)

    async def readyz(_request: web.Request) -> web.Response:
        ready = releases.introduced and not ending.begun
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response({"ready": ready}, status=status)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)

    async def collaborators(_app: web.Application) -> AsyncIterator[None]:
        await releases.start()
        yield
        await releases.close()
        await images.close()

    app.cleanup_ctx.append(collaborators)
    close_at_the_end(app, ending)
    return app
