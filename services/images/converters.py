"""Between the store's records and the contract."""

from __future__ import annotations

from services.errors import VisionmeshError
from services.media.record import ImageRecord
from services.serving.status import to_status
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.images.v1 import images_pb2


def image_to_proto(record: ImageRecord) -> images_pb2.Image:
    """A record as clients see it."""
    image = images_pb2.Image(
        digest=record.digest,
        media_type=record.media_type,
        byte_size=record.byte_size,
        size=ImageSize(width=record.width, height=record.height),
        orientation=record.orientation,
        frames=record.frames,
        rendition_size=ImageSize(width=record.rendition_width, height=record.rendition_height),
    )
    image.created_at.FromDatetime(record.created_at)
    return image


def outcome_to_proto(outcome: ImageRecord | VisionmeshError) -> images_pb2.GetImageOutcome:
    """One outcome of a batch: an image, or why there is none."""
    if isinstance(outcome, VisionmeshError):
        return images_pb2.GetImageOutcome(error=to_status(outcome))
    return images_pb2.GetImageOutcome(image=image_to_proto(outcome))
