"""`python -m services.rest` as it is started in a mesh."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.rest.world import World, digest_of

TIMEOUT_S = 60.0


@asynccontextmanager
async def process(**settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The facade as a process, which is gone afterwards."""
    variables = {f"VISIONMESH_{key.upper()}": value for key, value in settings.items()}
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.rest",
        env={**os.environ, **variables},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def port_of(started: asyncio.subprocess.Process) -> int:
    """The port that the process says it serves."""
    assert started.stderr is not None
    said = ""
    async with asyncio.timeout(TIMEOUT_S):
        while line := (await started.stderr.readline()).decode():
            if found := re.search(r'"address": "127\.0\.0\.1:(\d+)"', line):
                return int(found[1])
            said += line
    raise AssertionError(f"the process ended without serving:\n{said}")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_serves_and_drains(rest: World, jpeg: bytes, stop: signal.Signals):
    """The process serves the mesh that it is told of; asked to stop, it answers what it began."""
    mesh_address = f"127.0.0.1:{rest.mesh_port}"
    settings = {"mesh_address": mesh_address, "data_dir": str(rest.folder)}
    async with process(**settings, log_json="true", port="0") as started:
        url = f"http://127.0.0.1:{await port_of(started)}"
        async with aiohttp.ClientSession(url) as http:
            async with asyncio.timeout(TIMEOUT_S):
                while not await _ready(http):
                    pass
            rest.images.gate.clear()
            rest.images.arrived.clear()
            upload = asyncio.create_task(_upload(http, jpeg))
            await asyncio.wait_for(rest.images.arrived.wait(), TIMEOUT_S)
            started.send_signal(stop)
            rest.images.gate.set()
            assert await upload == digest_of(jpeg)
        assert await asyncio.wait_for(started.wait(), TIMEOUT_S) == 0


async def test_says_that_it_ends_before_it_does(rest: World, jpeg: bytes):
    """After SIGTERM the facade is neither healthy nor ready, answers on, and closes connections; a
    second signal ends it."""
    mesh_address = f"127.0.0.1:{rest.mesh_port}"
    settings = {"mesh_address": mesh_address, "data_dir": str(rest.folder), "lame_duck_s": "600"}
    async with process(**settings, log_json="true", port="0") as started:
        url = f"http://127.0.0.1:{await port_of(started)}"
        async with aiohttp.ClientSession(url) as http:
            started.send_signal(signal.SIGTERM)
            async with asyncio.timeout(TIMEOUT_S):
                while await _status(http, "/healthz") != 503:
                    pass
            assert await _status(http, "/readyz") == 503
            sent = {"Content-Type": "image/jpeg"}
            async with http.post("/v1/images", data=jpeg, headers=sent) as answer:
                assert answer.headers["Connection"] == "close"
                assert (await answer.json())["id"] == digest_of(jpeg)
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), TIMEOUT_S) == 0


async def _status(http: aiohttp.ClientSession, path: str) -> int:
    async with http.get(path) as answer:
        return answer.status


async def test_taken_port_is_an_error(rest: World):
    """A port on which somebody listens ends the process with a message and no traceback."""
    async with process(port=str(rest.port), data_dir=str(rest.folder)) as started:
        assert started.stderr is not None
        output = (await asyncio.wait_for(started.stderr.read(), TIMEOUT_S)).decode()
        assert await started.wait() == 1
    assert str(rest.port) in output
    assert "Traceback" not in output


async def test_bad_setting_is_an_error():
    """A setting that cannot be read ends the process with its name."""
    async with process(body_timeout_s="soon") as started:
        assert started.stderr is not None
        output = (await asyncio.wait_for(started.stderr.read(), TIMEOUT_S)).decode()
        assert await started.wait() == 1
    assert "body_timeout_s" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "some.host"])
async def test_listening_elsewhere_needs_a_token(host: str):
    """Without a token everybody is `local`: then nobody but this machine may ask."""
    async with process(host=host, port="0") as started:
        assert started.stderr is not None
        output = (await asyncio.wait_for(started.stderr.read(), TIMEOUT_S)).decode()
        assert await started.wait() == 1
    assert f"token Value error, is needed to listen at {host!r}" in output
    assert "Traceback" not in output


async def test_store_that_cannot_be_opened_is_an_error():
    """An object store that there is none of ends the process with its name."""
    async with process(store_url="nowhere://bucket", port="0") as started:
        assert started.stderr is not None
        output = (await asyncio.wait_for(started.stderr.read(), TIMEOUT_S)).decode()
        assert await started.wait() == 1
    assert "nowhere://bucket" in output
    assert "Traceback" not in output


async def _ready(http: aiohttp.ClientSession) -> bool:
    async with http.get("/readyz") as answer:
        return answer.status == 200


async def _upload(http: aiohttp.ClientSession, data: bytes) -> str:
    async with http.post("/v1/images", data=data, headers={"Content-Type": "image/jpeg"}) as answer:
        image_id: str = (await answer.json())["id"]
        return image_id
