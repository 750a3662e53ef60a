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

from services.inference.batching import BatchingEngine
from services.inference.engine import Engine, EngineError, Tensors
from services.inference.fake import FakeEngine
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving import elsewhere, tenancy
from services.serving.diagnostics import Diagnostics
from services.serving.server import grpc_server
from services.serving.status import from_rpc_error
from tests.contract.services import CONCURRENCY, Answer, ModelService
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.common.v1.model_pb2 import Model

TOKEN = "the secret of this mesh"
TENANT = "acme"


class Asked(Diagnostics):
    """Diagnostics to wait for: until so many pictures are at the model or wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._counted = asyncio.Event()

    def count(self, name: str, by: int = 1) -> None:
        super().count(name, by)
        self._counted.set()

    async def until(self, pictures: int) -> None:
        while self.counters["inferences"] < pictures:
            self._counted.clear()
            await self._counted.wait()


class World:
    """A model service behind real gRPC, on a fake engine and a real store in a folder.

    While `hold` is set the engine keeps black images waiting until `release` is; while `fail` is
    set it fails on them, while `nan` is what it makes of them is no number. `batches` has, of each
    inference that reached the model, which of its pictures were black.
    """

    def __init__(self, service: ModelService, folder: Path, precision: str) -> None:
        objects = Objects.open(folder)
        self.service = service
        self.images = ImageStore(objects)
        self.objects = objects
        self.diagnostics = self.asked = Asked()
        self.results = Results.over(objects, diagnostics=self.diagnostics)
        self.hold = False
        self.held = asyncio.Event()
        self.all_held = asyncio.Event()
        self.batches: list[list[bool]] = []
        self._held = 0
        self.release = asyncio.Event()
        self.fail = False
        self.nan = False
        self.engine = FakeEngine(
            service.inputs, service.outputs, self._answer, self._wait, precision
        )
        self.queue: Engine = (
            self.engine
            if service.batch_size is None
            else BatchingEngine(
                self.engine,
                concurrency=CONCURRENCY,
                size=service.batch_size,
                max_waiting=service.max_waiting,
            )
        )
        self.channel: grpc.aio.Channel

    @property
    def looked_at(self) -> int:
        """Pictures that reached the model, each time it was asked."""
        return sum(map(len, self.batches))

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
        pictures = self._pictures(inputs)
        self.batches.append([self.service.is_dark(one) for one in pictures])
        if self.fail and any(self.batches[-1]):
            raise EngineError("secret: operator Conv_7 ran out of something")
        outputs = [self._answer_to(one) for one in pictures]
        if len(outputs) == 1:
            return outputs[0]
        return {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}

    def _answer_to(self, inputs: Tensors) -> Tensors:
        outputs = self.service.answer(inputs)
        if self.nan and self.service.is_dark(inputs):
            return {name: np.full_like(array, np.nan) for name, array in outputs.items()}
        return outputs

    def _pictures(self, inputs: Tensors) -> list[Tensors]:
        if self.service.batch_size in (None, 1):
            return [inputs]
        count = min(map(len, inputs.values()))
        return [
            {name: array[place : place + 1] for name, array in inputs.items()}
            for place in range(count)
        ]

    async def _wait(self, inputs: Tensors) -> None:
        if self.hold and any(map(self.service.is_dark, self._pictures(inputs))):
            self.held.set()
            self._held += 1
            if self._held == CONCURRENCY:
                self.all_held.set()
            await self.release.wait()


@asynccontextmanager
async def world_of(
    service: ModelService, folder: Path, precision: str = "fp32"
) -> AsyncIterator[World]:
    """Start a service over a folder; another one over the same folder is it, started again."""
    world = World(service, folder, precision)
    await world.queue.load()
    register = await service.register(world.queue, world.images, world.results, world.diagnostics)
    async with (
        grpc_server(register, service.process.grpc_service or "", token=TOKEN) as port,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=(("grpc.max_send_message_length", -1),)
        ) as channel,
    ):
        world.channel = channel
        yield world
    await world.results.close()
    await world.queue.close()


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
