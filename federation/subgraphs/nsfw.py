"""The nsfw subgraph: how likely an image is not safe for work."""

from __future__ import annotations

from typing import Self

import strawberry
from strawberry import ID, Info

from federation.subgraphs.context import Context
from federation.subgraphs.values import ModelVersion, Size, size_of
from services.client.mesh import MeshClient
from services.names import image_id


@strawberry.type(description="How likely an image is not safe for work.")
class Nsfw:
    score: float = strawberry.field(description="A probability, in [0, 1].")
    model: ModelVersion = strawberry.field(description="What says so.")
    image: Size = strawberry.field(description="Of the image that was looked at.")


@strawberry.federation.type(name="Image", keys=["id"], description="A stored image.")
class NsfwImage:
    id: ID

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=ID(image_id(id)))

    @strawberry.field(description="How likely it is not safe for work.")
    async def nsfw(self, info: Info[Context, None]) -> Nsfw | None:
        outcome = await info.context.outcome("nsfw", MeshClient.classify, self.id)
        return Nsfw(
            score=outcome.result.score,
            model=ModelVersion(name="nsfw", version=outcome.model_version),
            image=size_of(outcome.image_size),
        )
