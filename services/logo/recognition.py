"""From stored features to answers, for one tenant and the brands that it has at the moment."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Final, TypeVar

from services.brands.manifest import Manifest, OwnBrand
from services.brands.store import BrandStore
from services.errors import ModelUnavailable
from services.fingerprint import fingerprint
from services.inference.metrics import ModelMetrics
from services.inference.workers import Workers, WorkersClosed
from services.logo import (
    agreement,
    comparison,
    converters,
    gallery,
    geometry,
    kinship,
    matching,
)
from services.logo.comparison import Comparison
from services.logo.gallery import Gallery
from services.logo.model import LogoModel
from services.logo.own_marks import OwnMarks
from services.logo.types import Mark, MatchParameters
from services.results.flights import Flights
from services.serving import tenancy

T = TypeVar("T")

SOURCES: Final[tuple[ModuleType, ...]] = (
    matching,
    agreement,
    kinship,
    comparison,
    geometry,
    gallery,
)
"""The modules that decide between features and an answer."""

MAX_FEATURES: Final = 1_000_000
"""Features of own brands that are kept ready in memory, some 400 bytes each, of the tenants that
asked last (a guess)."""

LOADED_AT_ONCE: Final = 32
"""Marks that are read at a time when a tenant's gallery is made (a guess)."""


def base_revision(
    recipe: str,
    own_marks: str,
    parameters: MatchParameters = MatchParameters(),  # noqa: B008 -- frozen
) -> str:
    """The revision of the built-in gallery, 16 hexadecimal digits: of all that shapes an answer but
    the features and a tenant's own brands.

    `recipe` is what the gallery was made by, `own_marks` by what own brands' features are found.
    """
    return fingerprint(
        sources=SOURCES,
        libraries=("faiss-cpu",),
        recipe=recipe,
        own_marks=own_marks,
        parameters=dataclasses.asdict(parameters),
    )


@dataclass(frozen=True, slots=True)
class _Own:
    """A tenant's own gallery beside the built-in one, and the marks that it was made of, by key."""

    revision: str
    compared: Comparison
    marks: dict[str, Mark]

    @property
    def features(self) -> int:
        return sum(len(mark.features) for mark in self.marks.values())


class Recognition:
    """Derives answers about logos: `services.serving.dataplane.Derivation`."""

    def __init__(
        self,
        model: LogoModel,
        built_in: Gallery,
        revision: str,
        store: BrandStore,
        own_marks: OwnMarks,
        *,
        workers: int = 1,
        parameters: MatchParameters = MatchParameters(),  # noqa: B008 -- frozen
        metrics: ModelMetrics | None = None,
    ) -> None:
        """`revision` is that of the built-in gallery; `workers` images are compared at a time."""
        self.revision = revision
        self._model = model
        self._built_in = built_in
        self._compared = Comparison(built_in)
        self._store = store
        self._own_marks = own_marks
        self._parameters = parameters
        self._own: OrderedDict[str, _Own] = OrderedDict()
        self._loading: Flights[tuple[str, str], Comparison] = Flights(name="load brands")
        metrics = metrics or ModelMetrics("")
        self._pool = Workers(workers, "matching", metrics.used)
        metrics.queue("jobs", lambda: self._pool.waiting)

    @property
    def built_in_brands(self) -> Sequence[str]:
        """Names, sorted."""
        return self._built_in.brands

    @property
    def version(self) -> str:
        """That of answers to who has no brands of its own."""
        return self._model.version + self.revision

    def version_for(self, manifest: Manifest) -> str:
        """That of answers to a tenant with these brands."""
        return self._model.version + manifest.revision(self.revision)

    async def current(self) -> TenantStep:
        """See `Derivation.current`: read anew for every call, so that a brand that was registered
        anywhere is looked for from the next one on."""
        tenant = tenancy.tenant()
        return TenantStep(self, tenant, await self._store.manifest(tenant))

    async def derive(
        self, tenant: str, manifest: Manifest, made: bytes, width: int, height: int
    ) -> bytes:
        """The encoded answer about an image of this size, by these brands."""
        compared = await self._comparison(tenant, manifest)
        return await self._in_turn(partial(self._recognize, compared, made, width, height))

    async def close(self) -> None:
        """End what is being loaded, and finish what is being compared."""
        await self._loading.close()
        await self._pool.close()

    async def _in_turn(self, call: Callable[[], T]) -> T:
        """What a call off the event loop returns. Raises ModelUnavailable when this is closed."""
        try:
            return await self._pool.run(call)
        except WorkersClosed:
            raise ModelUnavailable("the model has been closed") from None

    def _recognize(self, compared: Comparison, made: bytes, width: int, height: int) -> bytes:
        result = matching.recognize(
            self._model.features(made, width, height),
            compared,
            self._model.looked_at(width, height),
            (width, height),
            self._parameters,
        )
        return converters.encode_result(result)

    async def _comparison(self, tenant: str, manifest: Manifest) -> Comparison:
        if not manifest.brands:
            return self._compared
        revision = manifest.revision(self.revision)
        own = self._own.get(tenant)
        if own is not None and own.revision == revision:
            self._own.move_to_end(tenant)
            return own.compared
        return await self._loading.join(
            (tenant, revision), lambda: self._load(tenant, manifest, revision)
        )

    async def _load(self, tenant: str, manifest: Manifest, revision: str) -> Comparison:
        before = self._own.get(tenant)
        known = before.marks if before else {}
        slots = asyncio.Semaphore(LOADED_AT_ONCE)

        async def mark_of(brand: OwnBrand) -> Mark:
            if brand.key in known:
                return known[brand.key]
            async with slots:
                return await self._own_marks.load(tenant, brand)

        marks = await asyncio.gather(*map(mark_of, manifest.brands))
        compared = await self._in_turn(lambda: Comparison(self._built_in, self._beside(marks)))
        by_key = {brand.key: mark for brand, mark in zip(manifest.brands, marks, strict=True)}
        self._own[tenant] = _Own(revision, compared, by_key)
        self._own.move_to_end(tenant)
        while len(self._own) > 1 and sum(own.features for own in self._own.values()) > MAX_FEATURES:
            self._own.popitem(last=False)
        return compared

    def _beside(self, marks: Sequence[Mark]) -> Gallery:
        return gallery.build_beside(marks, self._built_in)


class TenantStep:
    """Deriving answers for a tenant with these brands: `services.serving.dataplane.Step`."""

    def __init__(self, recognition: Recognition, tenant: str, manifest: Manifest) -> None:
        self._recognition = recognition
        self._tenant = tenant
        self._manifest = manifest
        self.version = recognition.version_for(manifest)

    async def derive(self, made: bytes, width: int, height: int) -> bytes:
        """See `Step.derive`. Raises StoreUnavailable when a brand's picture cannot be read, as
        when it has just been deleted."""
        return await self._recognition.derive(self._tenant, self._manifest, made, width, height)

    def check(self, encoded: bytes) -> None:
        converters.check_result(encoded)
