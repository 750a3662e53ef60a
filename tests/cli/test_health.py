"""How processes are asked for their health."""

from __future__ import annotations

import asyncio

import pytest

from mesh.health import HttpProbe


@pytest.mark.parametrize(("host", "named"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_who_is_asked_is_called_by_its_address(
    host: str, named: str, monkeypatch: pytest.MonkeyPatch
):
    """The edge of a mesh without keys answers to loopback's names only, in brackets where due."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    connect = asyncio.open_connection
    # Not every machine has an IPv6 loopback; what is said there does not depend on it.
    asked: list[str] = []

    async def from_here(name: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        asked.append(name)
        return await connect("127.0.0.1", port)

    monkeypatch.setattr(asyncio, "open_connection", from_here)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await HttpProbe(port, "/healthz", host).check(timeout_s=10.0)
    assert asked == [host]
    assert f"\r\nHost: {named}:{port}\r\n" in heads[0]
