"""Values that several subgraphs answer with, under the names that REST gives them."""

from __future__ import annotations

from collections.abc import Iterable

import strawberry

from visionmesh.common.v1 import geometry_pb2, image_pb2


@strawberry.federation.type(
    shareable=True,
    description="A rectangle inside of the image, in pixels of the upright original.",
)
class Box:
    x: int = strawberry.field(description="From the left border.")
    y: int = strawberry.field(description="From the upper border.")
    width: int = strawberry.field(description="At least 1.")
    height: int = strawberry.field(description="At least 1.")


@strawberry.federation.type(
    shareable=True, description="A point in pixels of the upright original."
)
class Point:
    x: int = strawberry.field(description="From the left border.")
    y: int = strawberry.field(description="From the upper border.")


@strawberry.federation.type(
    shareable=True, description="Width and height in pixels of the upright image."
)
class Size:
    width: int = strawberry.field(description="At least 1.")
    height: int = strawberry.field(description="At least 1.")


@strawberry.federation.type(shareable=True, description="A model, as it was when it answered.")
class ModelVersion:
    name: str = strawberry.field(description="As in URLs and policies.")
    version: str = strawberry.field(
        description="Hash of everything that shapes the model's output."
    )


def box_of(message: geometry_pb2.Box) -> Box:
    return Box(x=message.x, y=message.y, width=message.width, height=message.height)


def points_of(messages: Iterable[geometry_pb2.Point]) -> list[Point]:
    return [Point(x=message.x, y=message.y) for message in messages]


def size_of(message: image_pb2.ImageSize) -> Size:
    return Size(width=message.width, height=message.height)
