"""Own brands in the object store (docs/decisions/gallery.md).

    brands/<tenant>/manifest.json    which brands there are: the only thing that says so
                    <key>.picture    what was registered, as it came
                    <key>.<revision> its features, by one way to find them: made again where missing

A brand is there from the moment that the manifest names it, and gone from the moment that it does
not. Pictures are written before and removed after; what a crash leaves in between is of nobody and
is cleared by a later change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from services import errors
from services.brands.manifest import NONE, Manifest, OwnBrand
from services.media.objects import Objects
from services.media.ownership import Clock, utc_now

MAX_BRANDS: Final = 1_000
"""Own brands of one tenant: the gallery of as many is made in seconds, and searched within some
tens of milliseconds (docs/decisions/gallery.md)."""

ORPHANED: Final = timedelta(hours=1)
"""From here on what no manifest names is of a registration that died, and not of one under way."""

REMEMBERED: Final = 256
"""Tenants whose manifest is kept parsed (a guess): what is read is compared with it."""

_MANIFEST: Final = "manifest.json"
_PICTURE: Final = "picture"
_KEY: Final = re.compile(r"([0-9a-f]{32})\.[0-9a-z]+")

_log = structlog.get_logger()


class BrandStore:
    """Tenants' own brands. Every method raises StoreUnavailable when the store fails.

    Any number of processes may read and change them at once.
    """

    def __init__(
        self, objects: Objects, *, max_brands: int = MAX_BRANDS, clock: Clock = utc_now
    ) -> None:
        self._objects = objects
        self._max_brands = max_brands
        self._clock = clock
        self._parsed: OrderedDict[str, tuple[bytes, Manifest]] = OrderedDict()

    async def manifest(self, tenant: str) -> Manifest:
        """Which brands a tenant has at this moment: one small read, every time."""
        return (await self._read(tenant))[1]

    async def add(self, tenant: str, name: str, picture: bytes) -> OwnBrand:
        """Keep a brand; it is there when this returns, and survives a power cut.

        Raises BrandExists, TooManyBrands.
        """
        digest = hashlib.sha256(picture).hexdigest()
        self._check(await self.manifest(tenant), name, digest)
        brand = OwnBrand(name, os.urandom(16).hex(), digest, self._clock())
        path = _path(tenant, brand.key, _PICTURE)
        await self._objects.put(path, picture, durable=True)

        def added(manifest: Manifest) -> Manifest:
            self._check(manifest, name, digest)
            return manifest.having(brand)

        try:
            await self._change(tenant, added)
        except (errors.BrandExists, errors.TooManyBrands):
            with contextlib.suppress(errors.StoreUnavailable):
                await self._objects.delete(path)
            raise
        await self._clear(tenant)
        return brand

    async def remove(self, tenant: str, name: str) -> None:
        """Remove a brand; it is gone when this returns. Raises BrandNotFound."""
        gone: list[OwnBrand] = []

        def removed(manifest: Manifest) -> Manifest:
            brand = manifest.find(name)
            if brand is None:
                raise errors.BrandNotFound(f"there is no brand {name!r} of your own", field="name")
            gone[:] = [brand]
            return manifest.without(name)

        await self._change(tenant, removed)
        await self._clear(tenant, *(brand.key for brand in gone))

    async def picture(self, tenant: str, brand: OwnBrand) -> bytes | None:
        """The picture of a brand as it came; None when it is not there whole."""
        data = await self._objects.get(_path(tenant, brand.key, _PICTURE))
        if data is None or hashlib.sha256(data).hexdigest() != brand.picture:
            return None
        return data

    async def features(self, tenant: str, brand: OwnBrand, revision: str) -> bytes | None:
        """What `keep_features` has kept, None when that is nothing."""
        return await self._objects.get(_path(tenant, brand.key, revision))

    async def keep_features(
        self, tenant: str, brand: OwnBrand, revision: str, features: bytes
    ) -> None:
        """Keep what was found in a picture, by this way to find it. Can be made again."""
        with contextlib.suppress(errors.StoreUnavailable):
            await self._objects.put(_path(tenant, brand.key, revision), features)

    def _check(self, manifest: Manifest, name: str, digest: str) -> None:
        if manifest.find(name):
            raise errors.BrandExists(f"name: there is a brand {name!r} already", field="name")
        same = next((brand for brand in manifest.brands if brand.picture == digest), None)
        if same:
            raise errors.BrandExists(
                f"picture: it is that of the brand {same.name!r} already", field="picture"
            )
        if len(manifest.brands) >= self._max_brands:
            raise errors.TooManyBrands(
                f"there are {len(manifest.brands)} brands of your own, at most {self._max_brands}",
                limit=f"{self._max_brands} brands",
            )

    async def _read(self, tenant: str) -> tuple[bytes | None, Manifest]:
        data = await self._objects.get(_path(tenant, _MANIFEST))
        if data is None:
            return None, NONE
        known = self._parsed.get(tenant)
        if known and known[0] == data:
            self._parsed.move_to_end(tenant)
            return known
        try:
            manifest = Manifest.decode(data)
        except ValueError as error:
            # Not as if there were none: images would be judged without brands that are there.
            _log.error("manifest of brands is not readable", tenant=tenant, reason=str(error))
            raise errors.StoreUnavailable("the brands cannot be read") from error
        self._parsed[tenant] = data, manifest
        if len(self._parsed) > REMEMBERED:
            self._parsed.popitem(last=False)
        return data, manifest

    async def _change(self, tenant: str, change: Callable[[Manifest], Manifest]) -> None:
        """Change the manifest as it is at the moment of the change; raises what `change` raises."""
        while True:
            before, manifest = await self._read(tenant)
            after = change(manifest).encode()
            if await self._objects.exchange(_path(tenant, _MANIFEST), before, after):
                return

    async def _clear(self, tenant: str, *gone: str) -> None:
        """Remove objects of these keys, and old ones of no brand. What fails is done later."""
        try:
            ages = await self._objects.ages(_path(tenant))
            named = {brand.key for brand in (await self.manifest(tenant)).brands}
            before = self._clock() - ORPHANED
            for name, written in ages.items():
                key = _KEY.match(name)
                if not key or key[1] in named:
                    continue
                if key[1] in gone or written < before:
                    await self._objects.delete(_path(tenant, name))
        except errors.StoreUnavailable:
            _log.warning("what no brand needs any more is cleared later", tenant=tenant)


def _path(tenant: str, *names: str) -> str:
    return "/".join(["brands", tenant, ".".join(names)] if names else ["brands", tenant])
