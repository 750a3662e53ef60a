"""The facade's stand-in: a real HTTP server that remembers its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

TEXT = '{"text": "' + "a photo of a cat " * 500 + '"}'
"""Long enough to be worth compressing."""


@dataclass(frozen=True)
class Seen:
    """One request as the origin saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Origin:
    """Answers by the last part of the path.

    `pinned` may be cached for a minute, `revalidated` must be checked on every use, `slow` waits
    for `released`, `broken` hangs up, `large` has 30 MB, `unavailable` is a 503, and anything else
    is `no-store`. Health checks are answered while `healthy` is set and are not remembered. `stop`
    closes its port.
    """

    port: int
    stop: Callable[[], Awaitable[None]]
    seen: list[Seen] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, part: str) -> list[Seen]:
        """The requests whose target contains `part`."""
        return [request for request in self.seen if part in request.target]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("User-Agent") == "Envoy/HC":
            await self.healthy.wait()
            return web.Response()
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, headers, body))
        # Of this request, as the facade says it.
        times = {"Server-Timing": "made;dur=9.0", "X-Visionmesh-Made-For": headers["x-request-id"]}
        match request.path.rsplit("/", 1)[-1]:
            case "pinned":
                return _json(times | {"Cache-Control": "max-age=31536000, s-maxage=60, immutable"})
            case "revalidated":
                if "one" in request.headers.get("If-None-Match", ""):
                    asked = times | {"ETag": '"one"', "Server-Timing": "asked;dur=1.0"}
                    return web.Response(status=304, headers=asked)
                return _json(times | {"Cache-Control": "no-cache", "ETag": '"one"'})
            case "unavailable":
                return web.Response(status=503)
            case "large":
                return web.Response(body=bytes(30_000_000))
            case "slow":
                await self.released.wait()
            case "broken":
                assert request.transport
                request.transport.abort()
        return _json(times | {"Cache-Control": "no-store", "ETag": '"one"'})


def _json(headers: dict[str, str]) -> web.Response:
    # An origin that names a trace itself, as the facade does: a stored name must not come back.
    return web.Response(
        text=TEXT, content_type="application/json", headers={**headers, "X-Trace-Id": "stored"}
    )


@asynccontextmanager
async def serving() -> AsyncIterator[Origin]:
    """An origin on a free port, healthy."""
    application = web.Application(client_max_size=1 << 30)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    origin = Origin(port=0, stop=runner.cleanup)
    origin.healthy.set()
    application.router.add_route("*", "/{path:.*}", origin.answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin.port = runner.addresses[0][1]
    try:
        yield origin
    finally:
        origin.released.set()
        origin.healthy.set()
        await runner.cleanup()
