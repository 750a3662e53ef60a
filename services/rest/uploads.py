"""Storing an image: begun once, it is finished, whether or not its client still waits."""

from __future__ import annotations

import asyncio

import structlog

from services.client.mesh import MeshClient
from services.rest.budget import Body
from visionmesh.images.v1.images_pb2 import CreateImageResponse

_log = structlog.get_logger()


class Uploads:
    """Owns the uploads that are on their way to the images service."""

    def __init__(self, mesh: MeshClient) -> None:
        self._mesh = mesh
        self._storing: set[asyncio.Task[CreateImageResponse]] = set()

    async def store(self, body: Body, digest: str = "") -> CreateImageResponse:
        """Store an image durably; `digest`, when given, is what its bytes must hash to.

        The body's share of the budget is held until the upload has ended.
        """
        body.share.hold()
        task = asyncio.create_task(self._mesh.create_image(body.data, digest))
        self._storing.add(task)
        task.add_done_callback(self._stored)
        # Not within the task: one that is cancelled before it runs would hold nothing.
        task.add_done_callback(lambda _task: body.share.release())
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for all that was begun."""
        if self._storing:
            await asyncio.wait(self._storing)

    def _stored(self, task: asyncio.Task[CreateImageResponse]) -> None:
        self._storing.discard(task)
        # Read here, because a client that has gone does not.
        if not task.cancelled() and (error := task.exception()):
            _log.debug("upload failed", error=str(error))
