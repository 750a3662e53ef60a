"""The logo subgraph: which brands an image shows, and the brands that there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Self

import strawberry
from strawberry import ID, Info
from strawberry.file_uploads import Upload

from federation.subgraphs import arguments
from federation.subgraphs.context import Context
from federation.subgraphs.values import (
    Box,
    ModelVersion,
    Point,
    Size,
    box_of,
    points_of,
    size_of,
)
from services.client.defaults import MAX_RESULTS, MIN_LOGO_SCORE
from services.client.mesh import MeshClient
from services.logo.converters import select
from services.logo.types import Options
from services.names import image_id
from visionmesh.logo.v1 import logo_pb2

MAX_PAGE: Final = 1000
"""Brands of one page at most, as in the gRPC contract."""

DEFAULT_PAGE: Final = 100


@strawberry.type(description="One logo.")
class Logo:
    brand: str = strawberry.field(description="The brand's name.")
    score: float = strawberry.field(
        description="How sure the model is, in [0, 1]; not a probability."
    )
    box: Box = strawberry.field(description="The smallest upright rectangle around it.")
    corners: list[Point] = strawberry.field(
        description="Its four corners, clockwise from where the upper left one is upright."
    )


@strawberry.type(description="The logos of one image.")
class Logos:
    logos: list[Logo] = strawberry.field(description="The surest first.")
    model: ModelVersion = strawberry.field(description="What found them, among which brands.")
    image: Size = strawberry.field(description="The frame of the boxes and corners.")


@strawberry.type(description="A brand that images are compared with.")
class Brand:
    name: str = strawberry.field(description="Lower-case letters, digits and dashes.")
    built_in: bool = strawberry.field(description="Whether the mesh comes with it.")
    registered_at: datetime | None = strawberry.field(
        description="When it was registered; null for one that is built in."
    )


@strawberry.type(description="Some brands, sorted by name.")
class BrandPage:
    brands: list[Brand] = strawberry.field(description="Sorted by name.")
    next_cursor: str | None = strawberry.field(
        description="Where the next page begins; null when there is none."
    )


@strawberry.federation.type(name="Image", keys=["id"], description="A stored image.")
class LogoImage:
    id: ID

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=ID(image_id(id)))

    @strawberry.field(description="Which brands' logos it shows, and where.")
    async def logo(
        self,
        info: Info[Context, None],
        min_score: Annotated[
            float, strawberry.argument(description="Leaves out what scores less.")
        ] = MIN_LOGO_SCORE,
        brands: Annotated[
            list[str] | None,
            strawberry.argument(description="Leaves out other brands; none means all."),
        ] = None,
        first: Annotated[
            int | None, strawberry.argument(description="Leaves out what comes after so many.")
        ] = None,
    ) -> Logos | None:
        wanted = Options(arguments.score(min_score), frozenset(arguments.several(brands, "brands")))
        most = arguments.first(first, MAX_RESULTS)
        outcome = await info.context.outcome("logo", MeshClient.recognize, self.id)
        found = select(outcome.result, wanted).logos
        return Logos(
            logos=[
                Logo(
                    brand=one.brand,
                    score=one.score,
                    box=box_of(one.box),
                    corners=points_of(one.corners),
                )
                for one in found[:most]
            ],
            model=ModelVersion(name="logo", version=outcome.model_version),
            image=size_of(outcome.image_size),
        )


@strawberry.type
class Query:
    @strawberry.field(description="The brands that the caller's images are compared with.")
    async def brands(
        self,
        info: Info[Context, None],
        first: Annotated[int, strawberry.argument(description="At most 1000.")] = DEFAULT_PAGE,
        after: Annotated[
            str | None, strawberry.argument(description="The cursor of the page before.")
        ] = None,
        own: Annotated[
            bool, strawberry.argument(description="Whether to leave out those built in.")
        ] = False,
    ) -> BrandPage | None:
        page = await info.context.mesh.list_brands(
            page_size=arguments.first(first, MAX_PAGE), page_token=after or "", own_only=own
        )
        return BrandPage(
            brands=[_brand(brand) for brand in page.brands],
            next_cursor=page.next_page_token or None,
        )


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Add a brand to the caller's own, from one picture of its logo."
    )
    async def register_brand(
        self,
        info: Info[Context, None],
        name: Annotated[
            str, strawberry.argument(description="Lower-case letters, digits and dashes.")
        ],
        picture: Annotated[
            Upload, strawberry.argument(description="An image of the logo and little else.")
        ],
    ) -> Brand | None:
        return _brand(await info.context.mesh.register_brand(name, picture))

    @strawberry.mutation(description="Remove one of the caller's own brands; its name.")
    async def delete_brand(self, info: Info[Context, None], name: str) -> str | None:
        await info.context.mesh.delete_brand(name)
        return name


def _brand(message: logo_pb2.Brand) -> Brand:
    registered = None
    if message.HasField("registered_at"):
        registered = message.registered_at.ToDatetime(tzinfo=UTC)
    return Brand(name=message.name, built_in=message.built_in, registered_at=registered)
