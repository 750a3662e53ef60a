"""The detection subgraph: which things an image shows, and where."""

from __future__ import annotations

from typing import Annotated, Self

import strawberry
from strawberry import ID, Info

from federation.subgraphs import arguments
from federation.subgraphs.context import Context
from federation.subgraphs.values import Box, ModelVersion, Size, box_of, size_of
from services.client.defaults import MAX_RESULTS, MIN_SCORE
from services.client.mesh import MeshClient
from services.detection import converters
from services.names import image_id
from visionmesh.detection.v1.detection_pb2 import DetectRequest


@strawberry.type(description="One object.")
class Detection:
    label: str = strawberry.field(description="One of the model's labels.")
    score: float = strawberry.field(
        description="How sure the model is, in [0, 1]; not a probability."
    )
    box: Box = strawberry.field(description="All that it touches.")


@strawberry.type(description="The objects of one image.")
class Detections:
    detections: list[Detection] = strawberry.field(description="The surest first.")
    model: ModelVersion = strawberry.field(description="What saw them.")
    image: Size = strawberry.field(description="The frame of the boxes.")


@strawberry.federation.type(name="Image", keys=["id"], description="A stored image.")
class DetectionImage:
    id: ID

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=ID(image_id(id)))

    @strawberry.field(description="Which things of known kinds it shows, and where.")
    async def detection(
        self,
        info: Info[Context, None],
        min_score: Annotated[
            float, strawberry.argument(description="Leaves out what scores less.")
        ] = MIN_SCORE,
        labels: Annotated[
            list[str] | None,
            strawberry.argument(description="Leaves out other kinds; none means all."),
        ] = None,
        first: Annotated[
            int | None, strawberry.argument(description="Leaves out what comes after so many.")
        ] = None,
    ) -> Detections | None:
        wanted = converters.options(
            DetectRequest(
                labels=arguments.several(labels, "labels"), min_score=arguments.score(min_score)
            )
        )
        most = arguments.first(first, MAX_RESULTS)
        outcome = await info.context.outcome("detection", MeshClient.detect, self.id)
        found = converters.select(outcome.result, wanted).detections
        return Detections(
            detections=[
                Detection(label=one.label, score=one.score, box=box_of(one.box))
                for one in found[:most]
            ],
            model=ModelVersion(name="detection", version=outcome.model_version),
            image=size_of(outcome.image_size),
        )
