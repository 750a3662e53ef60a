"""What uploads hold of the budget for bodies, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from services.client.mesh import MeshClient
from services.errors import Overloaded, Unavailable
from services.rest.budget import Body, Budget
from services.rest.uploads import Uploads
from tests.rest import wire
from tests.rest.world import world
from visionmesh.images.v1.images_pb2 import CreateImageResponse

WAIT_S = 10.0


class Store:
    """Takes images, holds them back until `gate` is set, and then fails with `error` if any."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def create_image(self, data: bytes, digest: str = "") -> CreateImageResponse:
        self.arrived.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        return CreateImageResponse(created=True)


async def upload(budget: Budget, uploads: Uploads, data: bytes) -> None:
    """What a request does."""
    with budget.share() as share:
        share.grow(len(data))
        await uploads.store(Body(data, share))


@pytest.mark.parametrize("error", [None, Unavailable("down")], ids=["stored", "failed"])
async def test_budget_is_held_until_the_store_has_ended(error: Exception | None):
    """After its client has left, an upload's bytes are free only when the store's call ends."""
    store, budget = Store(), Budget(100)
    store.error = error
    uploads = Uploads(cast(MeshClient, store))
    request = asyncio.create_task(upload(budget, uploads, bytes(70)))
    await store.arrived.wait()
    request.cancel()
    await asyncio.wait([request])
    assert request.cancelled()
    assert budget.free_bytes == 30
    with pytest.raises(Overloaded):
        await upload(budget, uploads, bytes(31))
    store.gate.set()
    await uploads.close()
    assert budget.free_bytes == 100


async def test_budget_is_held_until_the_request_has_ended():
    """A request that goes on after its upload still holds the bytes."""
    store, budget = Store(), Budget(100)
    store.gate.set()
    uploads = Uploads(cast(MeshClient, store))
    with budget.share() as share:
        share.grow(70)
        await uploads.store(Body(bytes(70), share))
        await uploads.close()
        assert budget.free_bytes == 30
    assert budget.free_bytes == 100


async def test_clients_that_leave_do_not_free_memory(tmp_path: Path, jpeg: bytes):
    """Over HTTP: what a client left behind counts until it is stored, and no longer."""
    head = {"Content_Type": "image/jpeg", "Content_Length": str(len(jpeg))}
    async with world(tmp_path, upload_budget_bytes=len(jpeg)) as rest, asyncio.timeout(WAIT_S):
        rest.images.gate.clear()
        async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
            await sent.send(jpeg)
            await rest.images.arrived.wait()
        # The facade has seen it go when it answers what was asked later on another connection.
        assert (await rest.get("/healthz")).status == 200
        assert (await rest.post("/v1/images", jpeg)).json["code"] == "OVERLOADED"
        rest.images.gate.set()
        while (await rest.post("/v1/images", jpeg)).status != 200:
            pass  # until the facade has read that the first one is stored
