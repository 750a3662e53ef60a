"""The real gateway, as a process, over the subgraphs of `world`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp

from mesh.programs import NODE
from tests.federation.world import World

MAIN: Final = Path(__file__).resolve().parents[2] / "federation/gateway/main.ts"
PATIENCE_S: Final = 30.0

UNKNOWN: Final = "f" * 64
SCORES: Final = "query ($id: ID!) { image(id: $id) { width nsfw { score } } }"
PAGE: Final = (
    "query ($ids: [ID!]!) { images(ids: $ids) { id nsfw { score } detection { model { name } } } }"
)


@dataclass(frozen=True)
class Answer:
    """What the gateway answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.json.get("errors", [])]

    @property
    def places(self) -> dict[tuple[str | int, ...], str]:
        """Code by path."""
        return {
            tuple(error["path"]): error["extensions"]["code"]
            for error in self.json.get("errors", [])
        }


@dataclass
class Gateway:
    """A gateway that runs."""

    url: str
    http: aiohttp.ClientSession
    process: asyncio.subprocess.Process
    metrics_port: int | None = None
    logged: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    sending: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def send(self, method: str, path: str, **more: Any) -> Answer:
        async with self.http.request(method, self.url + path, **more) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def ask(
        self, query: str, headers: dict[str, str] | None = None, **variables: Any
    ) -> Answer:
        """POST a document."""
        body = {"query": query, "variables": variables}
        return await self.send("POST", "/graphql", json=body, headers=headers)

    async def get(self, headers: dict[str, str] | None = None, **parameters: Any) -> Answer:
        """GET with parameters, of which those that are no text are sent as JSON."""
        written = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in parameters.items()
        }
        return await self.send(
            "GET", f"/graphql?{urlencode(written, quote_via=quote)}", headers=headers
        )

    async def arrived(self, count: int) -> None:
        """Wait until the gateway has read so many requests that were sent."""
        async with asyncio.timeout(PATIENCE_S):
            async with self.sending:
                await self.sending.wait_for(lambda: self.sent >= count)
        await self.send("GET", "/healthz")  # a turn of its loop later, all have been read

    async def stop(self) -> int:
        """Ask it to end; its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await self.process.wait()


@asynccontextmanager
async def gateway(world: World | str, **env: str) -> AsyncIterator[Gateway]:
    """A gateway in front of a world's subgraphs, or of a URL, that is gone afterwards."""
    url = world if isinstance(world, str) else f"http://127.0.0.1:{world.port}"
    process = await asyncio.create_subprocess_exec(
        NODE,
        MAIN,
        env={
            **os.environ,
            "VISIONMESH_PORT": "0",
            "VISIONMESH_SUBGRAPHS_URLS": url,
            "VISIONMESH_SUPERGRAPH_POLL_MS": "50",
            "VISIONMESH_LOG_JSON": "true",
            **env,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    reading: asyncio.Task[None] | None = None
    try:
        line = await asyncio.wait_for(_serving(process), PATIENCE_S)
        url = f"http://127.0.0.1:{line['address'].rpartition(':')[2]}"
        tracing = aiohttp.TraceConfig()

        async def count(*_: Any) -> None:
            async with made.sending:
                made.sent += 1
                made.sending.notify_all()

        tracing.on_request_headers_sent.append(count)
        async with aiohttp.ClientSession(trace_configs=[tracing]) as http:
            made = Gateway(url, http, process, line.get("metrics_port"))
            reading = asyncio.create_task(_read(process, made.logged))
            yield made
            await made.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if reading:
            await reading


async def _read(process: asyncio.subprocess.Process, into: list[dict[str, Any]]) -> None:
    """What a gateway says, as it says it."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        into.append(json.loads(line))


async def _serving(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """What a gateway says when it serves: at which address, for one."""
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if line.startswith(b"{") and (found := json.loads(line)).get("address"):
            return dict(found)
    raise AssertionError(f"the gateway did not start: {said.decode()}")
