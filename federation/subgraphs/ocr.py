"""The ocr subgraph: the text that an image shows."""

from __future__ import annotations

from typing import Annotated, Self

import strawberry
from strawberry import ID, Info

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
from services.client.defaults import MIN_LINE_SCORE
from services.client.mesh import MeshClient
from services.names import image_id
from services.ocr.converters import select
from services.ocr.types import Options


@strawberry.type(description="One line of text.")
class TextLine:
    text: str = strawberry.field(description="What it says.")
    score: float = strawberry.field(
        description="How sure the model is, in [0, 1]; not a probability."
    )
    box: Box = strawberry.field(description="The smallest upright rectangle around it.")
    corners: list[Point] = strawberry.field(
        description="Its four corners, clockwise from where the upper left one is for a reader."
    )


@strawberry.type(description="The text of one image.")
class Text:
    text: str = strawberry.field(description="The texts of the lines, one a line.")
    lines: list[TextLine] = strawberry.field(description="In reading order.")
    model: ModelVersion = strawberry.field(description="What read them.")
    image: Size = strawberry.field(description="The frame of the boxes and corners.")


@strawberry.federation.type(name="Image", keys=["id"], description="A stored image.")
class OcrImage:
    id: ID

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=ID(image_id(id)))

    @strawberry.field(description="The text that it shows.")
    async def ocr(
        self,
        info: Info[Context, None],
        min_score: Annotated[
            float, strawberry.argument(description="Leaves out lines that score less.")
        ] = MIN_LINE_SCORE,
    ) -> Text | None:
        wanted = Options(arguments.score(min_score))
        outcome = await info.context.outcome("ocr", MeshClient.read, self.id)
        read = select(outcome.result, wanted)
        return Text(
            text=read.text,
            lines=[
                TextLine(
                    text=line.text,
                    score=line.score,
                    box=box_of(line.box),
                    corners=points_of(line.corners),
                )
                for line in read.lines
            ],
            model=ModelVersion(name="ocr", version=outcome.model_version),
            image=size_of(outcome.image_size),
        )
