"""What one terminal asks of the mesh that runs in another: a socket in the data directory.

One request a connection, `{"restart": ["nsfw"]}`, and one line of JSON for each thing that is done.
The last line says `done`, or the `error` and the status to exit with. Who may open the socket is
who may enter the directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mesh.errors import MeshError, NotRunning
from mesh.restarts import Restarted

MAX_ADDRESS: Final = 100
"""Bytes of a socket's path that every system allows (Linux: 107)."""

Restart = Callable[[Sequence[str]], AsyncGenerator[Restarted, None]]


@asynccontextmanager
async def listening(path: Path, restart: Restart) -> AsyncIterator[None]:
    """Take requests at a socket, where nothing is yet, for as long as the context lasts."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError):  # whoever asked has gone
                await _answer(reader, writer, restart)
        finally:
            tasks.discard(task)
            writer.close()

    with _address(path) as address:
        server = await asyncio.start_unix_server(serve, address)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def asked_to_restart(path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Ask a running mesh to restart replicas; each as it was exchanged. Raises MeshError."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _address(path) as address:
                connection.connect(address)
        except OSError as error:
            raise NotRunning(f"{path}: {os.strerror(error.errno or 0)}") from None
        connection.sendall(json.dumps({"restart": list(names)}).encode() + b"\n")
        for line in connection.makefile("rb"):
            said = json.loads(line)
            if "error" in said:
                raise _Refused(said["error"], said["status"])
            if "done" in said:
                return
            yield said
    raise NotRunning("the mesh has stopped meanwhile")


class _Refused(MeshError):
    """What the launcher says, in its words and with its status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status  # type: ignore[misc]  # of a class elsewhere


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, restart: Restart
) -> None:
    try:
        names = json.loads(await reader.readline())["restart"]
        async with aclosing(restart(names)) as exchanged:
            async for done in exchanged:
                await _say(writer, asdict(done))
                if reader.at_eof():
                    return  # nobody waits for the next one
        await _say(writer, {"done": True})
    except MeshError as error:
        await _say(writer, {"error": str(error), "status": error.exit_status})
    except (ValueError, KeyError, TypeError):
        await _say(writer, {"error": "no such request", "status": 2})


async def _say(writer: asyncio.StreamWriter, content: dict[str, Any]) -> None:
    writer.write(json.dumps(content).encode() + b"\n")
    await writer.drain()


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """A name of the socket that is short enough for an address."""
    if len(os.fsencode(path)) <= MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
