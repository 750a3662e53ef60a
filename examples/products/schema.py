"""The products subgraph: what the shop sells. What its images show, the mesh says."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final, Self

import strawberry
from graphql import GraphQLError
from strawberry import ID, Info, federation
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet

from examples.products.catalogue import Item

MAX_PRODUCTS: Final = 100

Catalogue = Mapping[str, Item]


# Other subgraphs know more of an image than its id; nobody asks this one for an image by it.
@federation.type(keys=[Key(fields=FieldSet("id"), resolvable=False)], description="A stored image.")
class Image:
    id: ID


@federation.type(keys=["id"], description="What the shop sells.")
class Product:
    id: ID = strawberry.field(description="As in the shop's own URLs.")
    name: str = strawberry.field(description="For a person.")
    price_cents: int = strawberry.field(description="In hundredths of the shop's currency.")
    images: list[Image] = strawberry.field(description="What shows it, the best one first.")

    @classmethod
    def resolve_reference(cls, info: Info[Catalogue, None], id: ID) -> Self | None:
        item = info.context.get(id)
        return cls.of(item) if item else None

    @classmethod
    def of(cls, item: Item) -> Self:
        images = [Image(id=ID(image)) for image in item.images]
        return cls(id=ID(item.id), name=item.name, price_cents=item.price_cents, images=images)


@strawberry.type
class Query:
    @strawberry.field(description="One product, or null when there is none of this id.")
    def product(self, info: Info[Catalogue, None], id: ID) -> Product | None:
        item = info.context.get(id)
        return Product.of(item) if item else None

    @strawberry.field(description=f"The first products, at most {MAX_PRODUCTS}.")
    def products(self, info: Info[Catalogue, None], first: int = 20) -> list[Product] | None:
        if not 0 <= first <= MAX_PRODUCTS:
            # A code that the mesh knows: with any other, clients read `internal error`.
            raise GraphQLError(
                f"first is a whole number from 0 to {MAX_PRODUCTS}",
                extensions={
                    "code": "INVALID_ARGUMENT",
                    "field": "first",
                    "limit": str(MAX_PRODUCTS),
                },
            )
        return [Product.of(item) for item in islice(info.context.values(), first)]


SCHEMA: Final = federation.Schema(query=Query, federation_version="2.9")
