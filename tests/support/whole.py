"""A whole running mesh, as tests talk to it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from mesh.launcher import Mesh, running_mesh
from services.client.mesh import MeshClient

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a condition may take before a test gives up on it: long, as machines may be busy."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that has been read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """A mesh, its edge over HTTP, and its services over gRPC."""

    def __init__(self, mesh: Mesh, http: aiohttp.ClientSession, grpc: MeshClient) -> None:
        self.mesh = mesh
        self.grpc = grpc
        self._http = http

    async def call(
        self,
        method: str,
        path: str,
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        **headers: str,
    ) -> Answer:
        """One request to the edge; underscores in header names stand for hyphens."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        body = io.BytesIO(data) if isinstance(data, bytes) else data
        async with self._http.request(
            method, self.mesh.edge_url + path, data=body, headers=names
        ) as response:
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                await response.read(),
            )

    async def upload(self, photo: bytes) -> str:
        """Store a photo through the edge; its id."""
        answer = await self.call("POST", "/v1/images", data=photo, content_type="image/jpeg")
        assert answer.status in (200, 201), answer.body
        digest: str = answer.json["id"]
        assert digest == hashlib.sha256(photo).hexdigest()
        return digest

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose names match a regular expression."""
        url = f"{self.mesh.admin_url}/stats?format=json&filter={pattern}"
        with urllib.request.urlopen(url) as response:
            found = json.load(response)["stats"]
        return {entry["name"]: entry["value"] for entry in found if "value" in entry}

    def requests_to(self, process: str) -> int:
        """Calls that Envoy has sent to a process, its own health checks left out."""
        counters = self.stats(rf"^cluster\.{process}(_[a-z]+)?\.upstream_rq_total$")
        assert counters, f"no counters for {process}"
        return sum(counters.values())


@asynccontextmanager
async def world(data_dir: Path, **options: Any) -> AsyncIterator[World]:
    """A mesh that is ready, for as long as the context lasts."""
    async with (
        running_mesh(data_dir, **options) as mesh,
        aiohttp.ClientSession() as http,
        MeshClient(mesh.mesh_address) as grpc,
    ):
        yield World(mesh, http, grpc)


async def until(condition: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Wait until `condition`, a coroutine function, gives something true, and give it back."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await condition()):  # noqa: ASYNC110, other processes meet it
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
