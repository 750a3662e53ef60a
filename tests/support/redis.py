"""A real redis-server, and what can happen to one."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

START_S = 30


class RedisServer:
    """One redis-server on a Unix socket in a folder of its own: no port that anybody could take.

    Nothing is saved: a server that is started again is empty.
    """

    def __init__(self, folder: Path, arguments: Sequence[str] = ()) -> None:
        self._socket = folder / "redis.sock"
        self._folder = folder
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """What `VISIONMESH_REDIS_URL` takes."""
        return f"unix://{self._socket}"

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        program = shutil.which("redis-server")
        assert program, "these tests need a real Redis: apt-get install redis-server"
        self._process = await asyncio.create_subprocess_exec(
            program,
            *("--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder)),
            *("--save", "", "--appendonly", "no", *self._arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        await asyncio.wait_for(self._ready(), START_S)

    async def kill(self) -> None:
        """End the server at once, as a crash does; also one that is paused."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()
        self._process = None

    async def restart(self) -> None:
        """Crash, and come back empty."""
        await self.kill()
        await self.start()

    def pause(self) -> None:
        """Take connections and answer nothing, until `resume`."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """A connection of the test's own: to look inside, and to put garbage there."""
        redis: Redis = Redis.from_url(self.url)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def keys(self) -> list[str]:
        """The names of everything that is stored."""
        async with self.client() as redis:
            keys = await redis.keys("*")
        return sorted(key.decode() for key in keys if isinstance(key, bytes))

    async def scripts_run(self) -> int:
        """How often the server was asked to run a script."""
        async with self.client() as redis:
            statistics = await redis.info("commandstats")
        return int(statistics.get("cmdstat_evalsha", {}).get("calls", 0))

    async def until_asked(self, times: int) -> None:
        """Wait until scripts were run so often in all."""
        while await self.scripts_run() < times:  # noqa: ASYNC110 -- Redis tells nobody
            await asyncio.sleep(0.005)

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process, "redis-server is not running"
        return self._process

    async def _ready(self) -> None:
        assert self._process
        assert self._process.stdout
        said = b""
        while line := await self._process.stdout.readline():
            if b"ready to accept connections" in line.lower():
                return
            said += line
        raise AssertionError(f"redis-server ended: {said.decode()}")


@asynccontextmanager
async def redis_server(*arguments: str) -> AsyncIterator[RedisServer]:
    """A running server, with further arguments of its command line; ended on leaving."""
    # Not pytest's folder: the path of a Unix socket may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), arguments)
        await server.start()
        try:
            yield server
        finally:
            await server.kill()
