"""Envoy between a client and stand-ins of what is behind it, whole or without one feature."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from multidict import CIMultiDictProxy

from mesh.access import Access, write_access
from mesh.proxy import write_endpoints
from services.catalog import BY_NAME
from services.limits import MAX_MESSAGE_BYTES
from tests.envoy import origin, replica
from tests.envoy.origin import Origin
from tests.envoy.replica import Replica
from tests.support import envoy
from tests.support.envoy import Config, Envoy, settings_in

HOST = "127.0.0.1"
NSFW = str(BY_NAME["nsfw"].grpc_service)
IMAGES = str(BY_NAME["images"].grpc_service)


@dataclass(frozen=True)
class Feature:
    """Something that the template configures.

    `check` is a coroutine that sends requests and asserts what the feature does to them; `remove`
    takes exactly this feature out of a parsed configuration. `settings` are what the check needs to
    be quick or small.
    """

    name: str
    check: Callable[[Any], Awaitable[None]]
    remove: Callable[[Config], None]
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Answer:
    """What came back through the edge, the body as it was sent."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").split(";")[0]


@dataclass(frozen=True)
class Edge:
    """The edge listener, two origins behind it (usually only the first is used), and a client."""

    envoy: Envoy
    origins: list[Origin]
    session: aiohttp.ClientSession

    @property
    def origin(self) -> Origin:
        return self.origins[0]

    async def get(self, path: str, **arguments: Any) -> Answer:
        return await self.request("GET", path, **arguments)

    async def request(self, method: str, path: str, **arguments: Any) -> Answer:
        url = f"{self.envoy.edge}{path}"
        async with self.session.request(method, url, **arguments) as response:
            return Answer(response.status, response.headers, await response.read())

    def admit(self, access: Access) -> None:
        """Let in from now on who `access` names; Envoy follows within a moment."""
        write_access(self.envoy.settings.access_dir, access)

    @asynccontextmanager
    async def connection(self, data: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
        """A bare connection over which `data` is sent; yields what comes back."""
        reader, writer = await asyncio.open_connection(HOST, self.envoy.edge_port)
        try:
            writer.write(data)
            yield reader
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def reply(self, data: bytes) -> bytes:
        """The head and body that come back for `data`; nothing when Envoy hangs up instead."""
        async with self.connection(data) as reader, _patience("no reply"):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                return head + await reader.readexactly(int(length[1]) if length else 0)
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""

    async def until_closed(self, data: bytes) -> bytes:
        """What comes back for `data` until Envoy hangs up; AssertionError when it does not."""
        async with self.connection(data) as reader, _patience("Envoy kept the connection open"):
            return await reader.read()


@asynccontextmanager
async def _patience(complaint: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(envoy.patience_s.get()):
            yield
    except TimeoutError:
        raise AssertionError(complaint) from None


@asynccontextmanager
async def edge_world(
    directory: Path,
    *,
    access: Access | None = None,
    without: Callable[[Config], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Edge]:
    """An edge with one origin, ready for requests; open to everybody unless `access` is given."""
    chosen = settings_in(directory, **settings)
    chosen.endpoints_dir.mkdir(parents=True, exist_ok=True)
    if access:
        write_access(chosen.access_dir, access)
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(origin.serving()) for _ in range(2)]
        write_endpoints(chosen.endpoints_dir, "rest", [(HOST, origins[0].port)])
        running = await stack.enter_async_context(envoy.running(chosen, without))
        session = await stack.enter_async_context(
            # The client sends what the test says, and does not decompress behind its back.
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"])
        )
        yield Edge(running, origins, session)


@dataclass(frozen=True)
class Mesh:
    """The mesh listener, the replicas behind it, and a client that does not retry."""

    envoy: Envoy
    replicas: list[Replica]
    channel: grpc.aio.Channel

    async def call(
        self,
        digest: str = "",
        *,
        service: str = NSFW,
        rpc: str = "Any",
        request: bytes = b"",
        timeout: float = 30.0,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """The name of the replica that answered. Raises AioRpcError."""
        sent = dict(metadata or {}) | ({"x-visionmesh-digest": digest} if digest else {})
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(
            f"/{service}/{rpc}"
        )
        return (await method(request, metadata=list(sent.items()), timeout=timeout)).decode()

    async def code(self, **arguments: Any) -> grpc.StatusCode:
        """How a call ended."""
        try:
            await self.call(**arguments)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def admit(self, access: Access) -> None:
        """Let in from now on who `access` names; Envoy follows within a moment."""
        write_access(self.envoy.settings.access_dir, access)

    def publish(self, *replicas: Replica, process: str = "nsfw") -> None:
        """Tell Envoy where the replicas of a process are."""
        addresses = [(HOST, replica.port) for replica in replicas]
        write_endpoints(self.envoy.settings.endpoints_dir, process, addresses)


@asynccontextmanager
async def mesh_world(
    directory: Path,
    *,
    replicas: int = 2,
    access: Access | None = None,
    without: Callable[[Config], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Mesh]:
    """A mesh whose nsfw service has healthy replicas named 0, 1, …; the others have none yet."""
    chosen = settings_in(directory, **settings)
    chosen.endpoints_dir.mkdir(parents=True, exist_ok=True)
    if access:
        write_access(chosen.access_dir, access)
    async with AsyncExitStack() as stack:
        serving = [
            await stack.enter_async_context(replica.serving(str(n))) for n in range(replicas)
        ]
        addresses = [(HOST, one.port) for one in serving]
        write_endpoints(chosen.endpoints_dir, "nsfw", addresses)
        running = await stack.enter_async_context(envoy.running(chosen, without))
        channel = await stack.enter_async_context(channel_to(running.mesh))
        for cluster in ("nsfw", "nsfw-by-digest"):
            await running.until_healthy(cluster, replicas)
        yield Mesh(running, serving, channel)


def channel_to(address: str) -> grpc.aio.Channel:
    """A connection of its own that sends what it is given, once."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ],
    )
