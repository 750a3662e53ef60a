"""A data plane with a small model and a real store, for tests that count what the model did."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from services.inference.picture import Picture, Source
from services.media.objects import Objects
from services.media.store import ImageStore
from services.results.results import Results
from services.serving import tenancy
from services.serving.dataplane import DataPlane, Outcome
from services.serving.diagnostics import Diagnostics
from tests.support.photos import jpeg
from visionmesh.common.v1.image_pb2 import ImageRef


class CountingModel:
    """Answers the length of what it reads, and remembers how often and how widely it was asked."""

    name = "counting"
    version = "0123456789abcdef"

    def __init__(self, reads: Source = "rendition") -> None:
        self.reads: Source = reads
        self.calls = 0
        self.sizes: list[tuple[int, int]] = []
        self.running = 0
        self.most_running = 0
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.fail: Callable[[bytes], Exception | None] = lambda rendition: None

    async def predict(self, picture: Picture) -> int:
        self.calls += 1
        self.sizes.append((picture.width, picture.height))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.entered.set()
        try:
            if self.hold:
                await self.hold.wait()
            await asyncio.sleep(0)
            if error := self.fail(picture.data):
                raise error
            return len(picture.data)
        finally:
            self.running -= 1
            self.left.set()

    def encode(self, result: int) -> bytes:
        return str(result).encode()

    def check(self, encoded: bytes) -> None:
        int(encoded)


class World:
    """A data plane with everything around it. Another world over the same store is a replica."""

    def __init__(
        self,
        objects: Objects | None = None,
        redis_url: str = "",
        reads: Source = "rendition",
    ) -> None:
        self.objects = objects or Objects.open("memory:///")
        self.images = ImageStore(self.objects)
        self.diagnostics = Diagnostics()
        self.results = Results.over(self.objects, redis_url=redis_url, diagnostics=self.diagnostics)
        self.model = CountingModel(reads)
        self.plane: DataPlane[int] = DataPlane(
            self.model, self.images, self.results, self.diagnostics
        )

    async def photo(self, seed: int = 0, tenant: str = "acme") -> ImageRef:
        record, _ = await self.images.create(tenant, jpeg(320, 240, seed=seed))
        return ImageRef(digest=record.digest)

    async def look(self, *refs: ImageRef, tenant: str = "acme", version: str = "") -> list[Outcome]:
        """What a call of this tenant gets."""
        tenancy.act_for(tenant)
        return await self.plane.outcomes(refs, version)

    async def close(self) -> None:
        await self.plane.close()
        await self.results.close()
        await self.images.close()


def inline(data: bytes) -> ImageRef:
    return ImageRef(digest=hashlib.sha256(data).hexdigest(), data=data)
