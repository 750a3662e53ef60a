"""The facade's composition: collaborators in, an aiohttp application out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.media.store import ImageStore
from services.releases.releases import Releases
from services.rest import document
from services.rest.analysis import Analysis
from services.rest.answers import Kind
from services.rest.bodies import BodyReader, leave_expectation
from services.rest.fields import Selector
from services.rest.handlers.analysis import AnalysisHandlers
from services.rest.handlers.audit import AuditHandlers
from services.rest.handlers.brands import BrandHandlers
from services.rest.handlers.docs import DocsHandlers
from services.rest.handlers.images import ImageHandlers
from services.rest.handlers.models import ModelHandlers
from services.rest.handlers.moderation import ModerationHandlers
from services.rest.handlers.predict import PredictHandlers
from services.rest.handlers.releases import ReleaseHandlers
from services.rest.handlers.results import ResultHandlers
from services.rest.handlers.service import ServiceHandlers
from services.rest.middleware import around
from services.rest.model_results import ModelResults
from services.rest.model_views import MODEL_VIEWS
from services.rest.selections import Selections
from services.rest.settings import RestSettings
from services.rest.stored import Stored
from services.rest.uploads import Uploads
from services.rest.verdicts import Verdicts
from services.results.results import Results
from services.serving.connections import close_at_the_end
from services.serving.diagnostics import Diagnostics
from services.serving.ending import Ending
from services.serving.http_metrics import HttpMetrics
from services.serving.spans import Recorder
from services.serving.tenancy import Trust

SCHEMAS: Final = (
    "Image",
    *(view.schema for view in MODEL_VIEWS),
    "ImageModeration",
    "Model",
    "ModelList",
    "PolicyList",
    "Release",
    "AuditPage",
    "Brand",
    "BrandPage",
)
"""The answers that `fields` selects from, by their schemas in the document."""


def create_app(
    settings: RestSettings,
    mesh: MeshClient,
    objects: Objects,
    recorder: Recorder | None = None,
    ending: Ending | None = None,
    diagnostics: Diagnostics | None = None,
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """The application. It uses `mesh` and does not close it; `recorder` takes its spans, and it is
    measured for the `registry`.

    From when the `ending` begins, it is neither healthy nor ready.

    Of `objects` it reads whose an image is and what is stored of it; it writes releases.
    """
    contract = document.load()
    version = document.representation_version()
    selections = Selections(registry)
    kinds = {
        name: Kind(name, Selector(document.shape_of(contract, name)), version, selections.of(name))
        for name in SCHEMAS
    }
    bodies = BodyReader(settings.upload_budget_bytes, settings.body_timeout_s)
    uploads = Uploads(mesh)
    releases = Releases(objects, mesh, ttl_s=settings.versions_ttl_s)
    # Read only where a model is lost: nothing is kept in this process.
    results = Results.over(
        objects,
        redis_url=settings.redis_url,
        redis_budget_s=settings.redis_budget_s,
        memory_bytes=0,
        diagnostics=diagnostics,
    )
    store = ImageStore(objects)
    stored = Stored(store, results)

    images = ImageHandlers(mesh, bodies, uploads, kinds["Image"])
    model_results = [ModelResults(view, mesh, releases, stored) for view in MODEL_VIEWS]
    results_of = {
        one.view.name: ResultHandlers(one, releases, stored, kinds[one.view.schema])
        for one in model_results
    }
    verdicts = Verdicts(mesh, stored)
    moderation = ModerationHandlers(
        verdicts, bodies, uploads, releases, stored, kinds["ImageModeration"]
    )
    analysis = AnalysisHandlers(
        Analysis(model_results, verdicts, releases),
        releases,
        stored,
        document.shape_of(contract, document.ANALYSIS),
        version,
        selections.of(document.ANALYSIS),
    )
    predict = PredictHandlers(mesh, bodies)
    models = ModelHandlers(releases, kinds["Model"], kinds["ModelList"], kinds["PolicyList"])
    named = ReleaseHandlers(releases, kinds["Release"])
    audit = AuditHandlers(mesh, kinds["AuditPage"])
    brands = BrandHandlers(mesh, bodies, kinds["Brand"], kinds["BrandPage"])
    ending = ending or Ending()
    service = ServiceHandlers(mesh, releases, contract, ending)
    docs = DocsHandlers(settings.viewer_dir)

    measured = HttpMetrics(registry)
    app = web.Application(middlewares=[around(Trust(settings.token), measured, recorder)])
    image = "/v1/images/{id}"
    app.add_routes(
        [
            *(web.get(f"{image}/{name}", one.get) for name, one in results_of.items()),
            web.get(f"{image}/moderation", moderation.get),
            web.get(f"{image}/analysis", analysis.get),
            web.get(image, images.get),
            web.put(image, images.put, expect_handler=leave_expectation),
            web.delete(image, images.delete),
            web.post("/v1/images", images.create, expect_handler=leave_expectation),
            web.post("/v1/moderations", moderation.create, expect_handler=leave_expectation),
            web.get("/v1/models", models.list_models),
            web.get("/v1/models/{model:[^/:]+}", models.get),
            web.post(
                "/v1/models/{model:[^/:]+}:predict",
                predict.create,
                expect_handler=leave_expectation,
            ),
            web.get("/v1/policies", models.list_policies),
            web.get("/v1/releases/current", named.current),
            web.get("/v1/releases/{release}", named.get),
            web.get("/v1/audit", audit.list),
            web.get("/v1/brands", brands.list),
            web.put("/v1/brands/{name}", brands.put, expect_handler=leave_expectation),
            web.delete("/v1/brands/{name}", brands.delete),
            web.get("/openapi.json", service.document),
            web.get("/docs", docs.get),
            web.get("/docs/{file}", docs.get),
            web.get("/healthz", service.healthz),
            web.get("/readyz", service.readyz),
        ]
    )

    async def collaborators(_app: web.Application) -> AsyncIterator[None]:
        await releases.start()
        yield
        await uploads.close()
        await releases.close()
        await results.close()
        await store.close()

    app.cleanup_ctx.append(collaborators)
    close_at_the_end(app, ending)
    return app
