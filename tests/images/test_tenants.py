"""ImageService for several tenants, told apart by what a process of the mesh says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services import errors
from services.client.mesh import MeshClient
from services.media.objects import Objects
from services.media.store import ImageStore
from services.serving import tenancy
from tests.images.serving import ImagesProcess, client_of, server_of
from tests.support import photos
from visionmesh.images.v1 import images_pb2
from visionmesh.images.v1.images_pb2_grpc import ImageServiceStub

TOKEN = "secret"
PHOTO = photos.jpeg(64, 48)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Objects.open(tmp_path))


@pytest.fixture
async def client(store: ImageStore) -> AsyncIterator[MeshClient]:
    async with client_of(store, token=TOKEN) as connected:
        yield connected


async def test_each_sees_its_own(client: MeshClient):
    """Two tenants store one image; one deletes it, and the other still has it."""
    images = {}
    for tenant in ("acme", "zeta"):
        tenancy.act_for(tenant)
        answer = await client.create_image(PHOTO)
        assert answer.created
        images[tenant] = answer.image
    digest = images["acme"].digest
    tenancy.act_for("acme")
    await client.delete_image(digest)
    with pytest.raises(errors.ImageNotFound):
        await client.get_image(digest)
    tenancy.act_for("zeta")
    assert await client.get_image(digest) == images["zeta"]
    await client.delete_image(digest)
    with pytest.raises(errors.ImageNotFound):
        await client.get_image(digest)


async def test_what_others_have_is_unknown(client: MeshClient):
    """Another tenant's image and one that nobody has are the same answer."""
    tenancy.act_for("acme")
    digest = (await client.create_image(PHOTO)).image.digest
    tenancy.act_for("zeta")
    for call in (client.get_image, client.delete_image):
        said = []
        for asked in (digest, "0" * 64):
            with pytest.raises(errors.ImageNotFound) as raised:
                await call(asked)
            said.append(raised.value.message.replace(asked, ""))
        assert said[0] == said[1]
    outcome = (await client.get_images([digest]))[0]
    assert outcome.HasField("error")


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        ((tenancy.TENANT_HEADER, "acme"),),
        ((tenancy.TOKEN_HEADER, "guessed"), (tenancy.TENANT_HEADER, "acme")),
        ((tenancy.TOKEN_HEADER, TOKEN),),
        ((tenancy.TOKEN_HEADER, TOKEN), (tenancy.TENANT_HEADER, "../acme")),
    ],
    ids=["nothing", "no token", "another token", "no tenant", "no name"],
)
async def test_nobody_is_let_in(store: ImageStore, metadata: tuple[tuple[str, str], ...]):
    """Without the mesh's token and a tenant, every method is UNAUTHENTICATED and does nothing."""
    digest = (await store.create("acme", PHOTO))[0].digest
    other = photos.png(8, 8)
    async with (
        server_of(store, token=TOKEN) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = ImageServiceStub(channel)
        for call in (
            stub.CreateImage(images_pb2.CreateImageRequest(data=other), metadata=metadata),
            stub.GetImages(images_pb2.GetImagesRequest(digests=[digest]), metadata=metadata),
            stub.DeleteImage(images_pb2.DeleteImageRequest(digest=digest), metadata=metadata),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await store.get("acme", digest)


async def test_the_process_finishes_deletions_without_redis(tmp_path: Path, unused_tcp_port: int):
    """A deletion is answered while Redis is down; its tombstone stands until it can be told."""
    async with (
        ImagesProcess(tmp_path, REDIS_URL=f"redis://127.0.0.1:{unused_tcp_port}/0") as images,
        MeshClient(images.address) as client,
    ):
        digest = (await client.create_image(PHOTO)).image.digest
        await client.delete_image(digest)
        with pytest.raises(errors.ImageNotFound):
            await client.get_image(digest)
    objects = Objects.open(tmp_path / "objects")
    assert await objects.list("images") == []
    assert await objects.names("tombstones") == [digest]
