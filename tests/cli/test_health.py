"""How processes are asked for their health."""

from __future__ import annotations

import asyncio

import pytest

from mesh.health import HttpProbe


@pytest.mark.parametrize(("host", "named"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_who_is_asked_is_called_by_its_address(host: str, named: str):
    """The edge of a mesh without keys answers to loopback's names only, in brackets where due."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    try:
        server = await asyncio.start_server(answer, host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    async with server:
        port = server.sockets[0].getsockname()[1]
        await HttpProbe(port, "/healthz", host).check(timeout_s=10.0)
    assert f"\r\nHost: {named}:{port}\r\n" in heads[0]
