"""Object stores that fail when they are told to, and a mesh whose nsfw counts its questions."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from services import errors
from services.media.objects import Objects
from tests.support.mesh import FakeNsfw
from visionmesh.moderation.v1.moderation_pb2 import Policy
from visionmesh.nsfw.v1 import nsfw_pb2

A, B, C = "0123456789abcdef", "fedcba9876543210", "00112233445566aa"
"""Versions of a model."""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Objects in memory. Fails while `down`, refuses writes while `read_only`, and waits while
    `open` is not set."""

    def __init__(self) -> None:
        self.real = Objects.open("memory://")
        self.down = False
        self.read_only = False
        self.open = asyncio.Event()
        self.open.set()
        self.reads: list[str] = []
        self.written: list[str] = []
        self.attempts = 0
        self.has_written = asyncio.Event()

    @property
    def objects(self) -> Objects:
        return cast(Objects, self)

    async def get(self, path: str) -> bytes | None:
        self.reads.append(path)
        await self._works(not self.down)
        return await self.real.get(path)

    async def put(self, path: str, data: bytes, *, durable: bool = False) -> None:
        await self.put_all({path: data}, durable=durable)

    async def put_all(self, objects: dict[str, bytes], *, durable: bool = False) -> None:
        self.attempts += 1
        await self._works(not self.down and not self.read_only)
        assert durable
        await self.real.put_all(objects)
        self.written += objects
        self.has_written.set()

    async def sync(self, paths: list[str]) -> None:
        await self._works(not self.down)

    async def _works(self, works: bool) -> None:
        await self.open.wait()
        if not works:
            raise errors.StoreUnavailable("the object store cannot be reached")


class CountingNsfw(FakeNsfw):
    """Counts how often it is asked for its version, and while `silent` waits for `speak`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.silent = False
        self.speak = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def GetModel(
        self, request: nsfw_pb2.GetModelRequest, context: Any
    ) -> nsfw_pb2.GetModelResponse:
        self.asked += 1
        self.is_asked.set()
        if self.silent:
            await self.speak.wait()
        return await super().GetModel(request, context)


class Policies:
    """The policies of the mesh, by name with their versions; fails with `error`."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions or {"default": "d1"}
        self.error: Exception | None = None

    async def __call__(self) -> list[Policy]:
        if self.error:
            raise self.error
        return [Policy(name=name, version=one) for name, one in self.versions.items()]
