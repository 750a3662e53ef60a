"""ImageService over gRPC: convert, delegate, convert."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from services import errors
from services.errors import VisionmeshError
from services.images.converters import image_to_proto, outcome_to_proto
from services.media.record import ImageRecord
from services.media.store import ImageStore
from visionmesh.images.v1 import images_pb2
from visionmesh.images.v1.images_pb2_grpc import ImageServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class ImagesServicer(ImageServiceServicer):
    """Serves `visionmesh.images.v1.ImageService` from an image store."""

    def __init__(self, store: ImageStore, *, max_uploads: int) -> None:
        """More than `max_uploads` uploads at once are refused with Overloaded."""
        self._store = store
        self._uploads = asyncio.Semaphore(max_uploads)

    async def CreateImage(
        self, request: images_pb2.CreateImageRequest, context: Context
    ) -> images_pb2.CreateImageResponse:
        if self._uploads.locked():
            raise errors.Overloaded("too many uploads at once, try again soon")
        async with self._uploads:
            record, created = await self._store.create(request.data, request.digest)
        return images_pb2.CreateImageResponse(image=image_to_proto(record), created=created)

    async def GetImages(
        self, request: images_pb2.GetImagesRequest, context: Context
    ) -> images_pb2.GetImagesResponse:
        outcomes = await asyncio.gather(*map(self._find, request.digests))
        return images_pb2.GetImagesResponse(outcomes=map(outcome_to_proto, outcomes))

    async def DeleteImage(
        self, request: images_pb2.DeleteImageRequest, context: Context
    ) -> images_pb2.DeleteImageResponse:
        await self._store.delete(request.digest)
        return images_pb2.DeleteImageResponse()

    async def _find(self, digest: str) -> ImageRecord | VisionmeshError:
        try:
            return await self._store.get(digest)
        except VisionmeshError as error:
            return error
