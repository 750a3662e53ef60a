"""The images subgraph: what is stored, what goes in, and which models there are."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import ID, Info
from strawberry.file_uploads import Upload

from federation.subgraphs.context import Context
from federation.subgraphs.ids import MAX_IDS, check_count
from federation.subgraphs.values import Size
from services.errors import VisionmeshError
from services.media.record import ImageRecord
from services.names import image_id
from visionmesh.common.v1 import model_pb2


@strawberry.federation.type(name="Image", keys=["id"], description="A stored image.")
class Image:
    id: ID = strawberry.field(description="SHA-256 of its bytes, in lower-case hexadecimal.")

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=ID(image_id(id)))

    @strawberry.field(description="Found in the bytes: `image/jpeg`.")
    async def media_type(self, info: Info[Context, None]) -> str | None:
        return (await self._record(info)).media_type

    @strawberry.field(description="Bytes of the encoded image.")
    async def byte_size(self, info: Info[Context, None]) -> int | None:
        return (await self._record(info)).byte_size

    @strawberry.field(description="Of the upright image in pixels.")
    async def width(self, info: Info[Context, None]) -> int | None:
        return (await self._record(info)).width

    @strawberry.field(description="Of the upright image in pixels.")
    async def height(self, info: Info[Context, None]) -> int | None:
        return (await self._record(info)).height

    @strawberry.field(description="EXIF orientation of the original; 1 is upright.")
    async def orientation(self, info: Info[Context, None]) -> int | None:
        return (await self._record(info)).orientation

    @strawberry.field(description="Of which the first is looked at.")
    async def frames(self, info: Info[Context, None]) -> int | None:
        return (await self._record(info)).frames

    @strawberry.field(description="Size of what most models look at.")
    async def rendition(self, info: Info[Context, None]) -> Size | None:
        record = await self._record(info)
        return Size(width=record.rendition_width, height=record.rendition_height)

    @strawberry.field(description="When the caller stored it first.")
    async def created_at(self, info: Info[Context, None]) -> datetime | None:
        return (await self._record(info)).created_at

    async def _record(self, info: Info[Context, None]) -> ImageRecord:
        return await info.context.record(self.id)


@strawberry.type(description="What one call, and one image in it, may be.")
class InputLimits:
    max_images: int = strawberry.field(description="Images in one call.")
    max_image_bytes: int = strawberry.field(description="Bytes of one encoded image.")
    max_image_pixels: int = strawberry.field(description="Width times height of one image.")
    max_inline_bytes: int = strawberry.field(description="Bytes inline in one call.")
    media_types: list[str] = strawberry.field(description="As in `image/jpeg`.")


@strawberry.type(description="What a model is, and what it takes.")
class Model:
    name: str = strawberry.field(description="As in URLs and policies.")
    version: str = strawberry.field(description="Hash of everything that shapes its output.")
    description: str = strawberry.field(description="One sentence for a person.")
    labels: list[str] = strawberry.field(description="The classes that it can name.")
    license: str = strawberry.field(description="SPDX identifier of the weights' licence.")
    input_limits: InputLimits = strawberry.field(description="What it takes.")


@strawberry.type(description="An image that was uploaded.")
class UploadedImage:
    image: Image = strawberry.field(description="As it is stored.")
    created: bool = strawberry.field(description="False when it was already there.")


@strawberry.type
class Query:
    @strawberry.field(description="One of the caller's images.")
    async def image(self, info: Info[Context, None], id: ID) -> Image | None:
        return Image(id=ID((await info.context.record(image_id(id))).digest))

    @strawberry.field(
        description=f"Some of the caller's images, at most {MAX_IDS}; null for each that is not "
        "there, with an error that says why."
    )
    async def images(self, info: Info[Context, None], ids: list[ID]) -> list[Image | None] | None:
        check_count(ids, "ids", MAX_IDS)
        # An error in a place of the list is that place's alone.
        return list(await asyncio.gather(*(_image(info.context, id) for id in ids)))

    @strawberry.field(description="A model by its name.")
    async def model(self, info: Info[Context, None], name: str) -> Model | None:
        return _model(await info.context.releases.model(name))

    @strawberry.field(description="All models; null for each that does not say what it is.")
    async def models(self, info: Info[Context, None]) -> list[Model | None] | None:
        names = info.context.releases.names
        return list(await asyncio.gather(*(_described(info.context, name) for name in names)))


@strawberry.type
class Mutation:
    @strawberry.mutation(description="Store an image. It is durable when this answers.")
    async def upload_image(
        self,
        info: Info[Context, None],
        file: Annotated[Upload, strawberry.argument(description="JPEG, PNG, WebP, AVIF or GIF.")],
        digest: Annotated[
            ID | None, strawberry.argument(description="What its bytes must hash to.")
        ] = None,
    ) -> UploadedImage | None:
        expected = image_id(digest) if digest else ""
        stored = await info.context.mesh.create_image(file, expected)
        return UploadedImage(image=Image(id=ID(stored.image.digest)), created=stored.created)

    @strawberry.mutation(description="Delete one of the caller's images; its id.")
    async def delete_image(self, info: Info[Context, None], id: ID) -> ID | None:
        await info.context.mesh.delete_image(image_id(id))
        return id


async def _image(context: Context, id: ID) -> Image | None:
    try:
        return Image(id=ID((await context.record(image_id(id))).digest))
    except VisionmeshError as error:
        return error  # type: ignore[return-value]  # graphql-core raises it in its place


async def _described(context: Context, name: str) -> Model | None:
    try:
        return _model(await context.releases.model(name))
    except VisionmeshError as error:
        return error  # type: ignore[return-value]  # as above


def _model(message: model_pb2.Model) -> Model:
    limits = message.input_limits
    return Model(
        name=message.name,
        version=message.version,
        description=message.description,
        labels=list(message.labels),
        license=message.license,
        input_limits=InputLimits(
            max_images=limits.max_images,
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_inline_bytes=limits.max_inline_bytes,
            media_types=list(limits.media_types),
        ),
    )
