"""One table of bad input, over REST and gRPC, through a whole mesh.

Each row is refused alike on every way in: over HTTP with its status and a problem, over gRPC with
the same code; field and limit are named where there are any, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from services.errors import VisionmeshError
from services.limits import MAX_IMAGE_BYTES
from services.serving.status import from_status
from tests.support.mesh import digests
from tests.support.photos import huge_png, jpeg
from tests.support.whole import World, until, world
from visionmesh.common.v1.image_pb2 import ImageRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN = digests(1)[0]
UNSEEN = f"/v1/images/{UNKNOWN}/detection"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("mesh")) as running:
        yield running


def stored(mesh: World) -> set[Path]:
    """Every file of every image, and whose they are."""
    objects = mesh.mesh.data.root / "objects"
    folders = [objects / name for name in ("images", "owners", "tombstones")]
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class BadImage:
    """Bytes that are no image that may come in: HTTP status, code, and part of the limit."""

    name: str
    data: Callable[[], bytes]
    status: int
    code: str
    limit: str = ""


IMAGES = [
    BadImage("empty body", lambda: b"", 400, "EMPTY_IMAGE"),
    BadImage("text called image", lambda: b"I am a cat.", 415, "UNSUPPORTED_FORMAT", "image/jpeg"),
    BadImage("truncated JPEG", lambda: jpeg(640, 480)[:9_000], 422, "CORRUPT_IMAGE"),
    BadImage("PNG of 30000 x 30000", huge_png, 422, "TOO_MANY_PIXELS", "50000000"),
    BadImage("21 MB", lambda: bytes(21_000_000), 413, "IMAGE_TOO_LARGE", ""),
    BadImage("a byte too many", lambda: bytes(MAX_IMAGE_BYTES + 1), 413, "IMAGE_TOO_LARGE", "20"),
]
TYPED = {"content_type": "image/jpeg"}


@pytest.mark.parametrize("path", ["/v1/images", "/v1/moderations"])
@pytest.mark.parametrize("row", IMAGES, ids=lambda row: row.name)
async def test_bad_image_over_rest(mesh: World, row: BadImage, path: str):
    """A bad image is refused with its status and problem, and leaves nothing."""
    before = stored(mesh)
    answer = await mesh.call("POST", path, data=row.data(), **TYPED)
    assert (answer.status, answer.json["code"]) == (row.status, row.code)
    assert answer.json["field"] == "body"
    assert row.limit in answer.json.get("limit", "")
    assert answer.json["traceId"] == answer.headers["x-trace-id"]
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert stored(mesh) == before


@pytest.mark.parametrize("row", IMAGES, ids=lambda row: row.name)
async def test_bad_image_over_grpc(mesh: World, row: BadImage):
    """The same bytes are refused with the same code by the images service, and leave nothing."""
    before = stored(mesh)
    with pytest.raises(VisionmeshError) as failure:
        await mesh.grpc.create_image(row.data())
    assert (failure.value.code, failure.value.field) == (row.code, "data")
    assert row.limit in failure.value.limit
    assert stored(mesh) == before


INLINE = [row for row in IMAGES if 0 < len(row.data()) <= MAX_IMAGE_BYTES]


@pytest.mark.parametrize("row", INLINE, ids=lambda row: row.name)
async def test_bad_image_inline(mesh: World, row: BadImage):
    """Inline, the same bytes are their own outcome's error beside a good image's result."""
    before = stored(mesh)
    good, bad = jpeg(320, 240, seed=77), row.data()
    refs = [ImageRef(digest=hashlib.sha256(data).hexdigest(), data=data) for data in (good, bad)]
    classified = await mesh.grpc.classify(refs)
    detected = await mesh.grpc.detect(refs)
    moderated = await mesh.grpc.moderate(refs)
    assert classified[0].HasField("result")
    assert detected[0].HasField("result")
    assert moderated[0].HasField("verdict")
    for error in (classified[1].error, detected[1].error, moderated[1].error):
        assert from_status(error).code == row.code
    assert stored(mesh) == before


REST = [
    ("wrong digest on PUT", "PUT", f"/v1/images/{UNKNOWN}", 422, "DIGEST_MISMATCH", "id"),
    ("unknown id", "GET", f"/v1/images/{UNKNOWN}", 404, "IMAGE_NOT_FOUND", "id"),
    ("unknown id, model", "GET", f"/v1/images/{UNKNOWN}/nsfw", 404, "IMAGE_NOT_FOUND", "id"),
    (
        "unknown id, verdict",
        "GET",
        f"/v1/images/{UNKNOWN}/moderation",
        404,
        "IMAGE_NOT_FOUND",
        "id",
    ),
    ("unknown id, delete", "DELETE", f"/v1/images/{UNKNOWN}", 404, "IMAGE_NOT_FOUND", "id"),
    ("malformed id", "GET", "/v1/images/cat/nsfw", 400, "INVALID_ARGUMENT", "id"),
    ("unknown id, objects", "GET", f"{UNSEEN}", 404, "IMAGE_NOT_FOUND", "id"),
    ("unknown label", "GET", f"{UNSEEN}?labels=gun", 400, "INVALID_ARGUMENT", "labels"),
    ("no score", "GET", f"{UNSEEN}?minScore=2", 400, "INVALID_ARGUMENT", "minScore"),
    ("too many results", "GET", f"{UNSEEN}?maxResults=101", 400, "INVALID_ARGUMENT", "maxResults"),
    ("unknown model", "GET", "/v1/models/mind-reading", 404, "MODEL_NOT_FOUND", "model"),
    ("unknown parameter", "GET", "/v1/models?colour=red", 400, "INVALID_ARGUMENT", "colour"),
    ("unknown fields", "GET", "/v1/models?fields=colour", 400, "INVALID_ARGUMENT", "fields"),
    ("unknown policy", "POST", "/v1/moderations?policy=no", 404, "POLICY_NOT_FOUND", "policy"),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "of"),
    [row[1:] for row in REST],
    ids=[row[0] for row in REST],
)
async def test_bad_request_over_rest(
    mesh: World, method: str, path: str, status: int, code: str, of: str
):
    """A request that names what is not there, or cannot be, is a problem that says which."""
    before = stored(mesh)
    photo = jpeg(320, 240, seed=78) if method in ("PUT", "POST") else None
    answer = await mesh.call(method, path, data=photo, **(TYPED if photo else {}))
    assert (answer.status, answer.json["code"], answer.json["field"]) == (status, code, of)
    assert answer.json["traceId"] == answer.headers["x-trace-id"]
    assert stored(mesh) == before


async def test_wrong_content_type(mesh: World):
    """A body that says it is no image is refused, naming what is taken."""
    answer = await mesh.call(
        "POST", "/v1/images", data=jpeg(320, 240, seed=79), content_type="text/plain"
    )
    assert (answer.status, answer.json["field"]) == (415, "Content-Type")
    assert "image/*" in answer.json["limit"]


GRPC: list[tuple[str, Callable[[World], Awaitable[object]], str, str, str]] = [
    (
        "129 references",
        lambda mesh: mesh.grpc.moderate([ImageRef(digest=one) for one in digests(129)]),
        "INVALID_ARGUMENT",
        "images",
        "128",
    ),
    ("no references", lambda mesh: mesh.grpc.classify([]), "INVALID_ARGUMENT", "images", "1"),
    (
        "malformed digest",
        lambda mesh: mesh.grpc.classify([ImageRef(digest="cat")]),
        "INVALID_ARGUMENT",
        "images[0].digest",
        "pattern",
    ),
    ("129 digests", lambda mesh: mesh.grpc.get_images(digests(129)), "INVALID_ARGUMENT", "digests",
     "128"),
    (
        "unknown policy",
        lambda mesh: mesh.grpc.moderate([ImageRef(digest=UNKNOWN)], "no"),
        "POLICY_NOT_FOUND",
        "policy",
        "",
    ),
    ("unknown id", lambda mesh: mesh.grpc.get_image(UNKNOWN), "IMAGE_NOT_FOUND", "digest", ""),
    ("delete", lambda mesh: mesh.grpc.delete_image(UNKNOWN), "IMAGE_NOT_FOUND", "digest", ""),
    ("wrong digest", lambda mesh: mesh.grpc.create_image(jpeg(64, 64), UNKNOWN), "DIGEST_MISMATCH",
     "digest", ""),
    ("unknown model", lambda mesh: mesh.grpc.get_model("mind-reading"), "MODEL_NOT_FOUND", "model",
     ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "code", "of", "limit"), [row[1:] for row in GRPC], ids=[row[0] for row in GRPC]
)
async def test_bad_call_over_grpc(
    mesh: World, call: Callable[[World], Awaitable[object]], code: str, of: str, limit: str
):
    """A call that breaks the contract, or names what is not there, says which and how much."""
    before = stored(mesh)
    with pytest.raises(VisionmeshError) as failure:
        await call(mesh)
    assert (failure.value.code, failure.value.field) == (code, of)
    assert limit in failure.value.limit
    assert stored(mesh) == before


async def test_inline_bytes_under_another_digest(mesh: World):
    """Bytes that are not what their digest names are that reference's error."""
    (outcome,) = await mesh.grpc.classify([ImageRef(digest=UNKNOWN, data=jpeg(64, 64))])
    assert from_status(outcome.error).code == "DIGEST_MISMATCH"


async def test_chunked_body_without_a_length(mesh: World):
    """A body without a length is counted as it comes: 21 MB of it are refused."""
    before = stored(mesh)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(21):
            yield bytes(1_000_000)

    answer = await mesh.call("POST", "/v1/images", data=chunks(), **TYPED)
    assert (answer.status, answer.json["code"]) == (413, "IMAGE_TOO_LARGE")
    assert stored(mesh) == before


async def test_client_that_hangs_up_halfway(mesh: World):
    """Half an upload is no image: nothing is stored, and the next upload is served."""
    photo = jpeg(640, 480, seed=80)
    before = stored(mesh)
    _, writer = await asyncio.open_connection("127.0.0.1", mesh.mesh.options.port)
    head = "POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    length = f"Content-Length: {len(photo)}\r\n\r\n"
    writer.write((head + length).encode() + photo[: len(photo) // 2])
    await writer.drain()
    cut_off = r"^http\.edge\.downstream_cx_destroy_remote_active_rq$"
    counted = sum(mesh.stats(cut_off).values())
    writer.close()
    await writer.wait_closed()

    async def noticed() -> bool:
        return sum(mesh.stats(cut_off).values()) > counted

    await until(noticed, "Envoy noticed that the client is gone")
    assert stored(mesh) == before
    assert await mesh.upload(photo)
