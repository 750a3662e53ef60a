"""ImageService over real gRPC."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from services import errors
from services.media.objects import Objects
from services.media.store import ImageStore, image_folder
from services.serving import status
from services.serving.tenancy import LOCAL
from tests.images.serving import client_of, server_of, stub_of
from tests.support import photos
from visionmesh.images.v1 import images_pb2
from visionmesh.images.v1.images_pb2_grpc import ImageServiceStub

NOBODY = "0" * 64


class Gate(Objects):
    """Objects that wait before they write, until they are let."""

    def __init__(self, inner: Objects) -> None:
        super().__init__(inner._store, inner._folder)
        self.reached = asyncio.Event()
        self.open_ = asyncio.Event()

    async def put_all(
        self, objects: Mapping[str, bytes], *, touch: Iterable[str] = (), durable: bool = False
    ) -> None:
        self.reached.set()
        await self.open_.wait()
        await super().put_all(objects, touch=touch, durable=durable)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects.open(tmp_path)


@pytest.fixture
def store(objects: Objects) -> ImageStore:
    return ImageStore(objects)


@pytest.mark.parametrize("name", photos.SAMPLES)
async def test_every_format_is_taken(store: ImageStore, name: str):
    """Each format and mode is stored, described, and read back by its digest."""
    data = photos.SAMPLES[name]()
    async with client_of(store) as client:
        answer = await client.create_image(data)
        assert answer.created
        image = answer.image
        assert image.digest == hashlib.sha256(data).hexdigest()
        assert image.media_type == f"image/{name.partition(' ')[0]}"
        assert image.byte_size == len(data)
        assert image.size.width in (160, 161)
        assert image.size.height in (119, 120)
        assert image.rendition_size == image.size
        assert image.orientation == 1
        assert image.frames == (3 if "animated" in name else 1)
        assert image.HasField("created_at")
        assert await client.get_image(image.digest) == image
    record = await store.get(LOCAL, image.digest)
    assert await store.original(record) == data


async def test_a_turned_photo_is_described_upright(store: ImageStore):
    """Sizes are those of the upright image, also of its rendition."""
    async with client_of(store) as client:
        image = (await client.create_image(photos.jpeg(3000, 2000, exif=photos.exif(8)))).image
    assert (image.size.width, image.size.height, image.orientation) == (2000, 3000, 8)
    assert (image.rendition_size.width, image.rendition_size.height) == (1024, 1536)


async def test_the_same_bytes_are_the_same_image(store: ImageStore):
    """A second upload, with or without the digest, is the first one's image."""
    data = photos.jpeg(64, 48)
    async with client_of(store) as client:
        first = await client.create_image(data, hashlib.sha256(data).hexdigest())
        second = await client.create_image(data)
    assert (first.created, second.created) == (True, False)
    assert first.image == second.image


async def test_a_batch_has_one_outcome_each(store: ImageStore):
    """Up to 128 digests are answered in their order, unknown ones with their own error."""
    photo = [photos.png(8, 8, seed=seed) for seed in range(3)]
    known = [(await store.create(LOCAL, data))[0].digest for data in photo]
    asked = [known[2], NOBODY, known[0], known[0], *[known[1]] * 124]
    async with client_of(store) as client:
        outcomes = await client.get_images(asked)
    assert [outcome.image.digest for outcome in outcomes] == [
        digest if digest != NOBODY else "" for digest in asked
    ]
    error = status.from_status(outcomes[1].error)
    assert isinstance(error, errors.ImageNotFound)
    assert error.field == "digest"


async def test_a_deleted_image_is_gone(store: ImageStore, objects: Objects):
    """Deleting answers once, then the image is unknown and nothing of it is left."""
    async with client_of(store) as client:
        digest = (await client.create_image(photos.png(64, 48))).image.digest
        await client.delete_image(digest)
        with pytest.raises(errors.ImageNotFound):
            await client.get_image(digest)
        with pytest.raises(errors.ImageNotFound):
            await client.delete_image(digest)
    assert await objects.list("images") == []


PHOTO = photos.jpeg(64, 48)
TRUNCATED = {name: photos.SAMPLES[name]()[:-40] for name in ("jpeg", "png", "webp", "avif", "gif")}
BAD_UPLOADS = {
    "empty": (b"", "", "EMPTY_IMAGE", "data", ""),
    "text": (b"Dear Sir", "", "UNSUPPORTED_FORMAT", "data", "image/jpeg, image/png"),
    **{
        f"truncated {name}": (data, "", "CORRUPT_IMAGE", "data", "")
        for name, data in TRUNCATED.items()
    },
    "bomb": (photos.huge_png(), "", "TOO_MANY_PIXELS", "data", "50000000 pixels"),
    "21 MB": (
        PHOTO + bytes(21_000_000 - len(PHOTO)),
        "",
        "IMAGE_TOO_LARGE",
        "data",
        "20000000 bytes",
    ),
    "wrong digest": (PHOTO, NOBODY, "DIGEST_MISMATCH", "digest", ""),
    "malformed digest": (PHOTO, "ABC", "INVALID_ARGUMENT", "digest", "pattern"),
}


@pytest.mark.parametrize("name", BAD_UPLOADS)
async def test_bad_uploads(store: ImageStore, objects: Objects, name: str):
    """Each is INVALID_ARGUMENT with its code, field and limit, and leaves nothing behind."""
    data, digest, code, field, limit = BAD_UPLOADS[name]
    async with stub_of(store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.CreateImage(images_pb2.CreateImageRequest(data=data, digest=digest))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = status.from_rpc_error(raised.value)
    assert (error.code, error.field) == (code, field)
    assert limit in error.limit
    assert bool(limit) == bool(error.limit)
    assert field in error.message
    assert await objects.list("images") == []


BAD_READS: dict[str, tuple[Callable[[Any], Awaitable[Any]], tuple[str, str, str]]] = {
    "129 digests": (
        lambda stub: stub.GetImages(images_pb2.GetImagesRequest(digests=[NOBODY] * 129)),
        ("INVALID_ARGUMENT", "digests", "128"),
    ),
    "no digest": (
        lambda stub: stub.GetImages(images_pb2.GetImagesRequest()),
        ("INVALID_ARGUMENT", "digests", "1 item"),
    ),
    "malformed digest": (
        lambda stub: stub.GetImages(images_pb2.GetImagesRequest(digests=[NOBODY, "../x"])),
        ("INVALID_ARGUMENT", "digests[1]", "pattern"),
    ),
    "malformed digest to delete": (
        lambda stub: stub.DeleteImage(images_pb2.DeleteImageRequest(digest="../x")),
        ("INVALID_ARGUMENT", "digest", "pattern"),
    ),
    "unknown digest to delete": (
        lambda stub: stub.DeleteImage(images_pb2.DeleteImageRequest(digest=NOBODY)),
        ("IMAGE_NOT_FOUND", "digest", ""),
    ),
}


@pytest.mark.parametrize("name", BAD_READS)
async def test_bad_reads(store: ImageStore, name: str):
    """Each has its status, code, field and limit."""
    call, (code, field, limit) = BAD_READS[name]
    async with stub_of(store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(stub)
    wanted = "NOT_FOUND" if code == "IMAGE_NOT_FOUND" else code
    assert raised.value.code() is grpc.StatusCode[wanted]
    error = status.from_rpc_error(raised.value)
    assert (error.code, error.field) == (code, field)
    assert limit in error.limit


async def test_a_broken_store_is_unavailable(tmp_path: Path, store: ImageStore):
    """A disk that fails is UNAVAILABLE, and the client reads no path of it."""
    (tmp_path / "owners").write_bytes(b"in the way")
    async with client_of(store) as client:
        for call in (client.create_image(PHOTO), client.get_image(NOBODY)):
            with pytest.raises(errors.StoreUnavailable) as raised:
                await call
            assert str(tmp_path) not in raised.value.message


async def test_too_many_uploads_are_refused(objects: Objects):
    """One upload more than allowed is refused at once, and the others are finished."""
    gate = Gate(objects)
    async with client_of(ImageStore(gate), max_uploads=1) as client:
        first = asyncio.create_task(client.create_image(PHOTO))
        await gate.reached.wait()
        with pytest.raises(errors.Overloaded):
            await client.create_image(photos.png(8, 8))
        gate.open_.set()
        assert (await first).created


async def test_a_cancelled_upload_still_counts(objects: Objects):
    """An upload whose client hung up takes its place until its bytes are let go."""
    gate = Gate(objects)
    store = ImageStore(gate)
    async with client_of(store, max_uploads=1) as client:
        first = asyncio.create_task(client.create_image(PHOTO))
        await gate.reached.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        for _ in range(3):
            with pytest.raises(errors.Overloaded):
                await client.create_image(photos.png(8, 8))
        gate.open_.set()
        await store.close()
        assert (await client.create_image(photos.png(8, 8))).created


async def test_a_stopping_server_finishes_uploads(objects: Objects):
    """An upload that is in the server when it is asked to stop is answered, and stored."""
    gate = Gate(objects)
    store = ImageStore(gate)
    async with server_of(store) as port:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        stub = ImageServiceStub(channel)
        upload = asyncio.ensure_future(stub.CreateImage(images_pb2.CreateImageRequest(data=PHOTO)))
        await gate.reached.wait()
        asyncio.get_running_loop().call_soon(gate.open_.set)
    answer = await upload
    await channel.close()
    assert await store.original(await store.get(LOCAL, answer.image.digest)) == PHOTO


async def test_a_client_that_hangs_up_leaves_a_whole_image(objects: Objects):
    """Cancelling an upload half-way leaves all of the image or nothing, never a part."""
    gate = Gate(objects)
    store = ImageStore(gate)
    async with stub_of(store) as stub:
        call = stub.CreateImage(images_pb2.CreateImageRequest(data=PHOTO))
        await gate.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert await objects.list("images") == []
    gate.open_.set()
    await store.close()
    folder = image_folder(hashlib.sha256(PHOTO).hexdigest())
    assert await objects.names(folder) == ["meta.json", "original", "owned.local", "results"]
