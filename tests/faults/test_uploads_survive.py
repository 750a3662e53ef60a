"""`kill -9` of the images process during uploads: every id that was returned reads back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.errors import VisionmeshError
from tests.support.photos import jpeg
from tests.support.whole import World, until, world

UPLOADS = 200
KILLS = 3


async def test_every_returned_id_reads_back(tmp_path: Path):
    """Images whose id was returned are all there after the process was killed several times."""
    photos = [jpeg(320, 240, seed=seed) for seed in range(UPLOADS)]
    async with world(tmp_path) as mesh:
        returned: list[str] = []
        slots = asyncio.Semaphore(8)

        async def upload(photo: bytes) -> None:
            """As clients do: again until there is an answer, which the same bytes make safe."""

            async def answered() -> bool:
                try:
                    returned.append((await mesh.grpc.create_image(photo)).image.digest)
                except VisionmeshError:
                    return False
                return True

            async with slots:
                await until(answered, "an upload is answered")

        killer = asyncio.create_task(_kill_meanwhile(mesh, returned))
        await asyncio.gather(*map(upload, photos))
        await killer
        assert len(set(returned)) == UPLOADS
        for first in range(0, UPLOADS, 100):
            outcomes = await mesh.grpc.get_images(returned[first : first + 100])
            assert all(outcome.HasField("image") for outcome in outcomes)
        assert mesh.mesh.restarts("images") == KILLS


async def _kill_meanwhile(mesh: World, returned: list[str]) -> None:
    """Kill the images process when a quarter, a half, three quarters of the uploads are in."""
    for number in range(1, KILLS + 1):
        enough = number * UPLOADS // (KILLS + 2)
        await until(_has(returned, enough), f"{enough} uploads")
        pid = mesh.mesh.pid("images")
        os.kill(pid, signal.SIGKILL)
        await mesh.mesh.wait_restarted("images", pid)


def _has(returned: list[str], enough: int) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return len(returned) >= enough

    return has
