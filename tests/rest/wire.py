"""Requests that no HTTP client would send: bytes on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from multidict import CIMultiDict, CIMultiDictProxy
from werkzeug.datastructures import Headers
from yarl import URL

from tests.rest.contract import Response
from tests.rest.world import CONTRACT, Answer

CHUNK = 1_000_000


@dataclass
class Wire:
    """One connection, and what has to be known to hold its exchange to the contract."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str
    url: URL

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def answer(self) -> Answer:
        """The answer, held to the document; 100 Continue is passed over and kept in mind."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers: CIMultiDict[str] = CIMultiDict()
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(": ")
            headers.add(name, value)
        body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        answer = Answer(int(lines[0].split()[1]), CIMultiDictProxy(headers), body)
        if answer.status >= 200:
            seen = Response(answer.status, Headers(list(headers.items())), body or None)
            CONTRACT.check(self.method, self.url, None, None, seen)
        return answer


@asynccontextmanager
async def request(port: int, method: str, path: str, **headers: str) -> AsyncIterator[Wire]:
    """Send a request's head and yield the connection, which is closed at the end.

    A character from U+DC80 on stands for the byte that is no text.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    try:
        wire = Wire(reader, writer, method, URL(f"http://127.0.0.1:{port}{path}"))
        await wire.send("\r\n".join([*lines, "", ""]).encode(errors="surrogateescape"))
        yield wire
    finally:
        writer.close()


def problem_of(answer: Answer) -> dict[str, object]:
    problem: dict[str, object] = orjson.loads(answer.body)
    return problem
