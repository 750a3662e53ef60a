"""Registering, listing and removing brands, for the current tenant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from services import errors
from services.brands.manifest import OwnBrand
from services.brands.store import BrandStore
from services.logo.own_marks import OwnMarks
from services.logo.types import Brand
from services.names import is_name
from services.serving import tenancy

PAGE_SIZE: Final = 100
"""Brands of a page when nobody says otherwise."""


class Brands:
    """The brands of the current tenant. Every method raises StoreUnavailable, Unauthenticated."""

    def __init__(self, store: BrandStore, own_marks: OwnMarks, built_in: Sequence[str]) -> None:
        self._store = store
        self._own_marks = own_marks
        self._built_in = frozenset(built_in)

    async def register(self, name: str, picture: bytes) -> Brand:
        """Add a brand; the next call anywhere recognizes it.

        Raises BrandExists, TooManyBrands, UnusablePicture, and for what is no picture what
        `OwnMarks.find` raises.
        """
        tenant = tenancy.tenant()
        mark = await self._own_marks.find(name, picture)
        own = await self._store.add(tenant, name, picture)
        await self._own_marks.keep(tenant, own, mark)
        return self._brand(name, own)

    async def delete(self, name: str) -> None:
        """Remove a brand of the tenant's own. Raises BrandNotFound."""
        tenant = tenancy.tenant()
        await self._store.remove(tenant, name)

    async def page(self, size: int, token: str, own_only: bool) -> tuple[list[Brand], str]:
        """Brands after the one that `token` names, sorted by name, and the next token.

        Raises InvalidArgument for a token that no page ended with.
        """
        if token and not is_name(token):
            raise errors.InvalidArgument("page_token: is none", field="page_token")
        manifest = await self._store.manifest(tenancy.tenant())
        own = {brand.name: brand for brand in manifest.brands}
        names = sorted(own if own_only else self._built_in | own.keys())
        first = bisect_right(names, token)
        last = first + (size or PAGE_SIZE)
        found = [self._brand(name, own.get(name)) for name in names[first:last]]
        return found, names[last - 1] if last < len(names) else ""

    async def known(self) -> frozenset[str]:
        """The names that images of the tenant may be asked for."""
        manifest = await self._store.manifest(tenancy.tenant())
        if not manifest.brands:
            return self._built_in
        return self._built_in | {brand.name for brand in manifest.brands}

    def _brand(self, name: str, own: OwnBrand | None) -> Brand:
        return Brand(name, name in self._built_in, own.registered_at if own else None)
