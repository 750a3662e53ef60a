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
from services.serving import tenancy
from visionmesh.images.v1 import images_pb2
from visionmesh.images.v1.images_pb2_grpc import ImageServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class ImagesServicer(ImageServiceServicer):
    """Serves `visionmesh.images.v1.ImageService` from an image store."""

    def __init__(self, store: ImageStore, *, max_uploads: int) -> None:
        """More than `max_uploads` uploads at once are refused with Overloaded.

        An upload whose client has left counts until the store has done with its bytes.
        """
        self._store = store
        self._max_uploads = max_uploads
        self._uploads: set[asyncio.Task[tuple[ImageRecord, bool]]] = set()

    async def CreateImage(
        self, request: images_pb2.CreateImageRequest, context: Context
    ) -> images_pb2.CreateImageResponse:
        if len(self._uploads) >= self._max_uploads:
            raise errors.Overloaded("too many uploads at once, try again soon")
        upload = asyncio.create_task(
            self._store.create(tenancy.tenant(), request.data, request.digest)
        )
        self._uploads.add(upload)
        upload.add_done_callback(self._ended)
        record, created = await asyncio.shield(upload)
        return images_pb2.CreateImageResponse(image=image_to_proto(record), created=created)

    async def GetImages(
        self, request: images_pb2.GetImagesRequest, context: Context
    ) -> images_pb2.GetImagesResponse:
        tenant = tenancy.tenant()
        outcomes = await asyncio.gather(*(self._find(tenant, digest) for digest in request.digests))
        return images_pb2.GetImagesResponse(outcomes=map(outcome_to_proto, outcomes))

    async def DeleteImage(
        self, request: images_pb2.DeleteImageRequest, context: Context
    ) -> images_pb2.DeleteImageResponse:
        await self._store.delete(tenancy.tenant(), request.digest)
        return images_pb2.DeleteImageResponse()

    async def _find(self, tenant: str, digest: str) -> ImageRecord | VisionmeshError:
        try:
            return await self._store.get(tenant, digest)
        except VisionmeshError as error:
            return error

    def _ended(self, upload: asyncio.Task[tuple[ImageRecord, bool]]) -> None:
        self._uploads.discard(upload)
        if not upload.cancelled():
            upload.exception()  # seen, also when the client has left
