"""What a call costs on this machine that does nothing: `python -m bench.calibration`.

A gRPC call through `grpc.aio` on uvloop that sends 64 bytes back, the least that every hop of the
mesh costs. Milliseconds of CPU say little across machines; how many such calls they are does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from itertools import repeat
from typing import Any, Final

import grpc
import uvloop

from bench.cpu import cpu_seconds
from bench.report import console

GOALS_CALL_MS: Final = 0.161
"""What it cost where the goals of `bench` were set: 6,200 calls a second on one core."""

METHOD: Final = "/visionmesh.bench.Echo/Say"
BYTES: Final = 64
CALLS: Final = 10_000
CLIENTS: Final = 10


async def call_ms() -> float:
    """CPU milliseconds that a server takes for a call, all its threads together."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.calibration",
        "serve",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    try:
        assert server.stdout is not None
        address = (await server.stdout.readline()).decode().strip()
        return await _ask(address, server.pid)
    finally:
        server.stdin.close()  # which is its end
        await server.wait()


async def _ask(address: str, pid: int) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        say: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

        async def client(calls: int) -> None:
            for message in repeat(b"x" * BYTES, calls):
                await say(message)

        await asyncio.gather(*(client(CALLS // 10 // CLIENTS) for _ in range(CLIENTS)))
        before = cpu_seconds({"server": pid})["server"]
        await asyncio.gather(*(client(CALLS // CLIENTS) for _ in range(CLIENTS)))
        return (cpu_seconds({"server": pid})["server"] - before) * 1e3 / CALLS


async def _serve() -> None:
    async def say(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return request

    server = grpc.aio.server()
    service, method = METHOD[1:].split("/")
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(say)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        uvloop.run(_serve())
    else:
        console.print(
            f"a gRPC call that does nothing: {uvloop.run(call_ms()):.3f} ms of CPU at its server"
        )
