"""A logo service behind real gRPC, with a small gallery: one replica, over a store of its own or
over one that it shares with others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from services.brands.store import MAX_BRANDS, BrandStore
from services.client.mesh import MeshClient
from services.logo.brands import Brands
from services.logo.engine import SiftEngine
from services.logo.gallery import Gallery
from services.logo.model import LogoModel
from services.logo.own_marks import OwnMarks
from services.logo.recognition import Recognition
from services.logo.servicer import LogoServicer
from services.logo.types import FeatureParameters
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving import tenancy
from services.serving.dataplane import DataPlane
from services.serving.diagnostics import Diagnostics
from services.serving.model_process import describe
from services.serving.server import grpc_server
from tests.logo.drawings import built_in
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.logo.v1 import logo_pb2
from visionmesh.logo.v1.logo_pb2_grpc import add_LogoServiceServicer_to_server

TOKEN = "the secret of this mesh"
REVISION = "6a11e7e56a11e7e5"


class Parts:
    """What a logo process is made of, around an engine."""

    def __init__(
        self,
        objects: Objects,
        images: ImageStore,
        results: Results,
        diagnostics: Diagnostics,
        *,
        model: LogoModel | None = None,
        gallery: Gallery | None = None,
        revision: str = REVISION,
        max_brands: int = MAX_BRANDS,
    ) -> None:
        gallery = gallery or built_in()
        parameters = FeatureParameters()
        self.engine = SiftEngine(
            max_features=parameters.max_features, contrast=parameters.contrast, workers=2
        )
        self.model = model or LogoModel(self.engine, parameters, gallery.brands)
        self.store = BrandStore(objects, max_brands=max_brands)
        own_marks = OwnMarks(self.store, images)
        self.recognition = Recognition(
            self.model, gallery, revision, self.store, own_marks, workers=2
        )
        self.brands = Brands(self.store, own_marks, gallery.brands)
        self.plane = DataPlane(self.model, images, results, diagnostics, self.recognition)
        self.about = describe(
            name=self.model.name,
            version=self.recognition.version,
            labels=self.model.labels,
            description="Brands by their logos",
            license="CC0-1.0",
        )

    def servicer(self) -> LogoServicer:
        return LogoServicer(self.plane, self.brands, self.about)

    async def close(self) -> None:
        await self.plane.close()
        await self.recognition.close()
        await self.engine.close()


class Replica:
    """One replica, asked for a tenant."""

    def __init__(self, client: MeshClient, parts: Parts, images: ImageStore, counted: Diagnostics):
        self.client = client
        self.parts = parts
        self.images = images
        self.counted = counted

    @property
    def inferences(self) -> int:
        """How often features were looked for in an image."""
        return self.counted.counters["inferences"]

    async def upload(self, data: bytes, tenant: str = "acme") -> ImageRef:
        record, _ = await self.images.create(tenant, data)
        return ImageRef(digest=record.digest)

    async def recognize(
        self, ref: ImageRef, tenant: str = "acme", version: str = "", brands: Sequence[str] = ()
    ) -> logo_pb2.RecognizeOutcome:
        tenancy.act_for(tenant)
        (outcome,) = await self.client.recognize([ref], model_version=version, brands=brands)
        return outcome

    async def seen(self, ref: ImageRef, tenant: str = "acme") -> list[str]:
        """The brands of an image, the surest first."""
        outcome = await self.recognize(ref, tenant)
        assert not outcome.HasField("error"), outcome.error
        return [logo.brand for logo in outcome.result.logos]

    async def register(self, name: str, picture: bytes, tenant: str = "acme") -> logo_pb2.Brand:
        tenancy.act_for(tenant)
        return await self.client.register_brand(name, picture)

    async def delete(self, name: str, tenant: str = "acme") -> None:
        tenancy.act_for(tenant)
        await self.client.delete_brand(name)

    async def own(self, tenant: str = "acme") -> list[str]:
        """The names of a tenant's own brands."""
        tenancy.act_for(tenant)
        page = await self.client.list_brands(own_only=True, page_size=1000)
        return [brand.name for brand in page.brands]


@asynccontextmanager
async def replica(
    objects: Objects,
    *,
    gallery: Gallery | None = None,
    revision: str = REVISION,
    max_brands: int = MAX_BRANDS,
) -> AsyncIterator[Replica]:
    """A replica over a store: two of them over one are two replicas, one after the other is one
    that was started again."""
    counted = Diagnostics()
    images = ImageStore(objects)
    results = Results.over(objects, diagnostics=counted)
    parts = Parts(
        objects, images, results, counted, gallery=gallery, revision=revision, max_brands=max_brands
    )
    await parts.engine.load()
    register = partial(add_LogoServiceServicer_to_server, parts.servicer())
    try:
        async with (
            grpc_server(register, token=TOKEN, diagnostics=counted) as port,
            MeshClient(f"127.0.0.1:{port}", token=TOKEN) as client,
        ):
            yield Replica(client, parts, images, counted)
    finally:
        await parts.close()
        await results.close()
        await images.close()
