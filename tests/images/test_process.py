"""The images process: killed, stopped, and started with wrong settings."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services import errors
from services.client.mesh import MeshClient
from services.media.decode import decode_rgb
from services.media.objects import Objects
from services.media.store import ImageStore
from services.serving.tenancy import LOCAL
from tests.images.serving import SERVICE, ImagesProcess
from tests.support import photos

UPLOADS = 200


async def _upload(address: str, uploads: list[bytes], stop_after: int, process: int) -> set[str]:
    """Upload 16 at a time, kill -9 once so many were answered; the ids that were returned."""
    returned: set[str] = set()
    pending = iter(uploads)

    async def worker(client: MeshClient) -> None:
        for data in pending:
            try:
                answer = await client.create_image(data)
            except errors.VisionmeshError:
                return
            returned.add(answer.image.digest)
            if len(returned) == stop_after:
                os.kill(process, signal.SIGKILL)

    async with MeshClient(address) as client:
        await asyncio.gather(*(worker(client) for _ in range(16)))
    return returned


@pytest.mark.parametrize("after", [1, 100])
async def test_kill_9_loses_no_returned_id(tmp_path: Path, after: int):
    """Every id that was returned before kill -9 reads back whole, and the next uploads heal."""
    # Half of them have a rendition of their own, so that there is more to lose half-way.
    uploads = [
        (photos.png if seed % 2 else photos.jpeg)(96, 72, seed=seed) for seed in range(UPLOADS)
    ]
    async with ImagesProcess(tmp_path) as images:
        returned = await _upload(images.address, uploads, after, images.process.pid)
        assert await images.process.wait() == -signal.SIGKILL
    assert after <= len(returned) < UPLOADS

    store = ImageStore(Objects.open(tmp_path / "objects"))
    by_digest = {hashlib.sha256(data).hexdigest(): data for data in uploads}
    for digest in returned:
        record = await store.get(LOCAL, digest)
        assert await store.original(record) == by_digest[digest]
        assert decode_rgb(await store.rendition(record)).shape == (72, 96, 3)

    async with ImagesProcess(tmp_path) as images, MeshClient(images.address) as client:
        for digest, data in by_digest.items():
            answer = await client.create_image(data, digest)
            assert not (answer.created and digest in returned)
            assert await store.original(await store.get(LOCAL, digest)) == data


async def test_sigterm_ends_with_success(tmp_path: Path):
    """A process that is asked to stop drains and exits with 0; what it stored is there."""
    async with ImagesProcess(tmp_path) as images:
        async with MeshClient(images.address) as client:
            digest = (await client.create_image(photos.jpeg(64, 48))).image.digest
        images.process.send_signal(signal.SIGTERM)
        assert await images.process.wait() == 0
    assert await ImageStore(Objects.open(tmp_path / "objects")).get(LOCAL, digest)


async def test_says_that_it_ends_before_it_does(tmp_path: Path):
    """After SIGTERM health says no, and calls are answered still; a second signal ends it."""
    health = health_pb2.HealthCheckRequest(service=SERVICE)
    async with (
        ImagesProcess(tmp_path, LAME_DUCK_S="600") as images,
        MeshClient(images.address) as client,
        grpc.aio.insecure_channel(images.address) as channel,
    ):
        watched = health_pb2_grpc.HealthStub(channel).Watch(health)
        assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
        images.process.send_signal(signal.SIGTERM)
        assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await client.create_image(photos.jpeg(64, 48))).created
        images.process.send_signal(signal.SIGTERM)
        assert await images.process.wait() == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [("STORE_URL", "ftp://host/x"), ("MAX_UPLOADS", "0")],
)
def test_wrong_settings_end_with_one_sentence(variable: str, value: str):
    """What a person set wrong is said in one line, without a traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "services.images"],
        env={**os.environ, f"VISIONMESH_{variable}": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "images: " in ended.stderr
    assert "Traceback" not in ended.stderr
