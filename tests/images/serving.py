"""The images service, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from services.catalog import BY_NAME
from services.client.mesh import OPTIONS, MeshClient
from services.images.servicer import ImagesServicer
from services.media.store import ImageStore
from services.serving.server import grpc_server
from visionmesh.images.v1.images_pb2_grpc import (
    ImageServiceStub,
    add_ImageServiceServicer_to_server,
)

if TYPE_CHECKING:
    # Only in the generated stubs, not at run time.
    from visionmesh.images.v1.images_pb2_grpc import ImageServiceAsyncStub

SERVICE: Final = BY_NAME["images"].grpc_service or ""


@asynccontextmanager
async def server_of(store: ImageStore, max_uploads: int = 8, token: str = "") -> AsyncIterator[int]:
    """The service on a free port, behind the server that every process has."""
    servicer = ImagesServicer(store, max_uploads=max_uploads)
    register = partial(add_ImageServiceServicer_to_server, servicer)
    async with grpc_server(register, SERVICE, token=token) as port:
        yield port


@asynccontextmanager
async def client_of(
    store: ImageStore, max_uploads: int = 8, token: str = ""
) -> AsyncIterator[MeshClient]:
    """The typed client of the service, as a process of the mesh when there is a token."""
    async with (
        server_of(store, max_uploads, token) as port,
        MeshClient(f"127.0.0.1:{port}", token=token) as client,
    ):
        yield client


@asynccontextmanager
async def stub_of(store: ImageStore) -> AsyncIterator[ImageServiceAsyncStub]:
    """The bare stub, for looking at statuses as they are on the wire."""
    async with (
        server_of(store) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel,
    ):
        yield ImageServiceStub(channel)


class ImagesProcess:
    """`python -m services.images` on a free port. Never outlives its context.

    `said` is what it logs after it has begun to serve, once it has ended.
    """

    def __init__(self, data_dir: Path, **settings: str) -> None:
        """`settings` are VISIONMESH_* variables, named without that."""
        self._data_dir = data_dir
        self._settings = {f"VISIONMESH_{name}": value for name, value in settings.items()}
        self.address = ""

    async def __aenter__(self) -> ImagesProcess:
        environment = {
            **os.environ,
            "VISIONMESH_DATA_DIR": str(self._data_dir),
            "VISIONMESH_PORT": "0",
            "VISIONMESH_LOG_JSON": "1",
            **self._settings,
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.images", env=environment, stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            said = json.loads(line)
            if said["event"] == "serving":
                self.address = said["address"]
                break
        assert self.address, "the process ended before it served"
        self.said = asyncio.create_task(self.process.stderr.read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.said
