"""A model service behind real gRPC, on a fake engine and a real store, and pictures for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
from PIL import Image

from services.inference.engine import EngineError, Tensors
from services.inference.fake import FakeEngine
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving import elsewhere, tenancy
from services.serving.diagnostics import Diagnostics
from services.serving.server import grpc_server
from services.serving.status import from_rpc_error
from tests.contract.services import Answer, ModelService
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.common.v1.model_pb2 import Model

TOKEN = "the secret of this mesh"
TENANT = "acme"


class World:
    """A model service behind real gRPC, on a fake engine and a real store in a folder.

    While `hold` is set the engine keeps black images waiting until `release` is; while `fail` is
    set it fails on them, while `nan` is what it makes of them is no number.
    """

    def __init__(self, service: ModelService, folder: Path, precision: str) -> None:
        objects = Objects.open(folder)
        self.service = service
        self.images = ImageStore(objects)
        self.objects = objects
        self.diagnostics = Diagnostics()
        self.results = Results.over(objects, diagnostics=self.diagnostics)
        self.hold = False
        self.held = asyncio.Event()
        self.release = asyncio.Event()
        self.fail = False
        self.nan = False
        self.engine = FakeEngine(
            service.inputs, service.outputs, self._answer, self._wait, precision
        )
        self.channel: grpc.aio.Channel

    async def ask(
        self,
        *refs: ImageRef,
        timeout_s: float = 60,
        tenant: str = TENANT,
        token: str = TOKEN,
        version: str = "",
        attempt: str = "",
    ) -> list[Answer]:
        """Ask the service over the wire; a failed call is the domain error that it stands for."""
        metadata = [(tenancy.TOKEN_HEADER, token), (tenancy.TENANT_HEADER, tenant)]
        if attempt:
            metadata.append((elsewhere.ATTEMPT_HEADER, attempt))
        try:
            return await self.service.ask(self.channel, refs, timeout_s, tuple(metadata), version)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def describe(self) -> Model:
        """What the service says of itself; that is for everybody in the mesh, not for a tenant."""
        return await self.service.describe(self.channel, ((tenancy.TOKEN_HEADER, TOKEN),))

    async def stored(self, *images: bytes, tenant: str = TENANT) -> list[ImageRef]:
        """References to images that a tenant has put into the store."""
        created = [await self.images.create(tenant, image) for image in images]
        return [ImageRef(digest=record.digest) for record, _ in created]

    def _answer(self, inputs: Tensors) -> Tensors:
        if self.fail and self.service.is_dark(inputs):
            raise EngineError("secret: operator Conv_7 ran out of something")
        outputs = self.service.answer(inputs)
        if self.nan and self.service.is_dark(inputs):
            return {name: np.full_like(array, np.nan) for name, array in outputs.items()}
        return outputs

    async def _wait(self, inputs: Tensors) -> None:
        if self.hold and self.service.is_dark(inputs):
            self.held.set()
            await self.release.wait()


@asynccontextmanager
async def world_of(
    service: ModelService, folder: Path, precision: str = "fp32"
) -> AsyncIterator[World]:
    """Start a service over a folder; another one over the same folder is it, started again."""
    world = World(service, folder, precision)
    await world.engine.load()
    register = await service.register(world.engine, world.images, world.results, world.diagnostics)
    async with (
        grpc_server(register, service.process.grpc_service or "", token=TOKEN) as port,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=(("grpc.max_send_message_length", -1),)
        ) as channel,
    ):
        world.channel = channel
        yield world
    await world.results.close()
    await world.engine.close()


def picture(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A bright picture, another one for each number."""
    colour = (255, 255 - number % 128, 255 - 64 * (number // 128))
    return _png(Image.new("RGB", size, colour))


def black(size: tuple[int, int] = (64, 48)) -> bytes:
    """The picture that the engine can be told to fail on, or to wait for."""
    return _png(Image.new("RGB", size))


def inline(data: bytes, digest: str = "") -> ImageRef:
    """A reference that carries its bytes."""
    return ImageRef(digest=digest or hashlib.sha256(data).hexdigest(), data=data)


def _png(image: Image.Image) -> bytes:
    with BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()
