"""The ocr subgraph: the text that an image shows."""

from __future__ import annotations

from typing import Annotated, Final, Self

import strawberry
from strawberry import ID, Info

from federation.subgraphs import arguments
from federation.subgraphs.context import Context
from federation.subgraphs.ids import image_id
from federation.subgraphs.values import (
    Box,
    ModelVersion,
    Point,
    Size,
    box_of,
    points_of,
    size_of,
)
from services.client.mesh import MeshClient

MIN_SCORE: Final = 0.8
"""What a line scores at least when nobody says otherwise, as in REST."""


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
        ] = MIN_SCORE,
    ) -> Text | None:
        least = arguments.score(min_score)
        outcome = await info.context.outcome("ocr", MeshClient.read, self.id)
        lines = [line for line in outcome.result.lines if line.score >= least]
        return Text(
            text="\n".join(line.text for line in lines),
            lines=[
                TextLine(
                    text=line.text,
                    score=line.score,
                    box=box_of(line.box),
                    corners=points_of(line.corners),
                )
                for line in lines
            ],
            model=ModelVersion(name="ocr", version=outcome.model_version),
            image=size_of(outcome.image_size),
        )
