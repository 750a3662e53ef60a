"""One table of what is refused: each with its status, a problem that names what and how much, and
nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from services.limits import MAX_IMAGE_BYTES, MAX_UPLOAD_BYTES
from services.media.formats import MEDIA_TYPES
from tests.rest import wire
from tests.rest.world import World
from tests.support import photos

JPEG = photos.jpeg(64, 48)
DIGEST = "0" * 64
FORM = "multipart/form-data; boundary=edge"


def part(name: str = "file", data: bytes = JPEG, extra: bytes = b"") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'.encode()
    return head + extra + b"\r\n" + data + b"\r\n"


@dataclass(frozen=True)
class Bad:
    """One row: a request, and the problem that it must meet."""

    name: str
    method: str
    path: str
    status: int
    code: str
    of: str = ""
    limit: str = ""
    body: Callable[[], bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)


def upload(
    name: str,
    body: bytes | Callable[[], bytes],
    status: int,
    code: str,
    of: str = "body",
    limit: str = "",
    content_type: str = "image/jpeg",
    **headers: str,
) -> Bad:
    made = body if callable(body) else lambda: body
    typed = {"Content-Type": content_type, **headers} if content_type else headers
    return Bad(name, "POST", "/v1/images", status, code, of, limit, made, typed)


def form(name: str, body: bytes, of: str, limit: str = "", content_type: str = FORM) -> Bad:
    return upload(name, body, 400, "INVALID_ARGUMENT", of, limit, content_type)


def query(name: str, path: str, of: str, limit: str = "") -> Bad:
    return Bad(name, "GET", path, 400, "INVALID_ARGUMENT", of, limit)


BYTES = f"{MAX_IMAGE_BYTES} bytes"
MANY = f"{MAX_UPLOAD_BYTES} bytes"
IMAGE = f"/v1/images/{DIGEST}"
FORMATS = ", ".join(MEDIA_TYPES)
TYPES = "image/*, application/octet-stream, multipart/form-data"

UPLOADS = [
    upload("empty body", b"", 400, "EMPTY_IMAGE"),
    upload("text called image", b"I am a cat.", 415, "UNSUPPORTED_FORMAT", limit=FORMATS),
    upload("SVG called image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415,
           "UNSUPPORTED_FORMAT", limit=FORMATS, content_type="image/svg+xml"),
    upload("truncated JPEG", JPEG[: len(JPEG) // 2], 422, "CORRUPT_IMAGE"),
    upload("30000 x 30000", photos.huge_png, 422, "TOO_MANY_PIXELS", limit="50000000 pixels"),
    upload("21 MB", lambda: bytes(21_000_000), 413, "IMAGE_TOO_LARGE", limit=BYTES),
    upload("wrong content type", JPEG, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type", TYPES,
           "text/plain"),
    upload("form of curl's default", JPEG, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type", TYPES,
           "application/x-www-form-urlencoded"),
    upload("compressed body", JPEG, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding",
           **{"Content-Encoding": "gzip"}),
    form("form without a part", b"--edge--\r\n", "file"),
    form("form that is empty", b"", "body"),
    form("form without a file", part("cat") + b"--edge--\r\n", "cat", "1 part named file"),
    form("form with two files", part() + part() + b"--edge--\r\n", "file", "1 file"),
    form("form with a giant header", part(extra=b"X-Big: " + b"x" * 9_000 + b"\r\n")
         + b"--edge--\r\n", "body", "8 headers of 4096 bytes"),
    form("form with many headers", part(extra=b"X-More: 1\r\n" * 100) + b"--edge--\r\n", "body",
         "8 headers of 4096 bytes"),
    form("form that is cut off", part()[:-500], "body"),
    form("form without a boundary", part() + b"--edge--\r\n", "Content-Type",
         "70 characters", "multipart/form-data"),
    form("form with a long boundary", part() + b"--edge--\r\n", "Content-Type", "70 characters",
         f"multipart/form-data; boundary={'x' * 71}"),
    upload("empty file in a form", part(data=b"") + b"--edge--\r\n", 400, "EMPTY_IMAGE",
           content_type=FORM),
    upload("form of 21 MB", lambda: part(data=bytes(21_000_000)) + b"--edge--\r\n", 413,
           "IMAGE_TOO_LARGE", limit=MANY, content_type=FORM),
    upload("file just too large in a form",
           lambda: part(data=bytes(MAX_IMAGE_BYTES + 1)) + b"--edge--\r\n", 413,
           "IMAGE_TOO_LARGE", limit=BYTES, content_type=FORM),
    Bad("wrong digest on PUT", "PUT", IMAGE, 422, "DIGEST_MISMATCH", "id", "", lambda: JPEG,
        {"Content-Type": "image/jpeg"}),
    Bad("malformed id on PUT", "PUT", "/v1/images/cat", 400, "INVALID_ARGUMENT", "id",
        "64 hexadecimal digits", lambda: JPEG, {"Content-Type": "image/jpeg"}),
    Bad("form on PUT", "PUT", IMAGE, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type",
        "image/*, application/octet-stream", lambda: part() + b"--edge--\r\n",
        {"Content-Type": FORM}),
    Bad("unknown parameter on POST", "POST", "/v1/images?policy=strict", 400, "INVALID_ARGUMENT",
        "policy", "", lambda: JPEG, {"Content-Type": "image/jpeg"}),
    Bad("unknown policy for new bytes", "POST", "/v1/moderations?policy=nope", 404,
        "POLICY_NOT_FOUND", "policy", "", lambda: JPEG, {"Content-Type": "image/jpeg"}),
    Bad("bad timeout for new bytes", "POST", "/v1/moderations", 400, "INVALID_ARGUMENT",
        "x-request-timeout-ms", "15000 ms", lambda: JPEG,
        {"Content-Type": "image/jpeg", "x-request-timeout-ms": "soon"}),
]  # fmt: skip

QUESTIONS = [
    Bad("unknown id", "GET", IMAGE, 404, "IMAGE_NOT_FOUND", "id"),
    Bad("unknown id's score", "GET", f"{IMAGE}/nsfw", 404, "IMAGE_NOT_FOUND", "id"),
    Bad("unknown id's verdict", "GET", f"{IMAGE}/moderation", 404, "IMAGE_NOT_FOUND", "id"),
    Bad("unknown id to delete", "DELETE", IMAGE, 404, "IMAGE_NOT_FOUND", "id"),
    Bad("unknown model", "GET", "/v1/models/mind-reading", 404, "MODEL_NOT_FOUND", "model"),
    Bad("unknown model of an image", "GET", f"{IMAGE}/mind-reading", 404, "NOT_FOUND"),
    Bad("unknown policy", "GET", f"{IMAGE}/moderation?policy=nope", 404, "POLICY_NOT_FOUND",
        "policy"),
    Bad("unknown path", "GET", "/v2/images", 404, "NOT_FOUND"),
    Bad("trailing slash", "GET", "/v1/images/", 404, "NOT_FOUND"),
    Bad("method that is not there", "PATCH", IMAGE, 405, "METHOD_NOT_ALLOWED"),
    query("malformed id", "/v1/images/cat", "id", "64 hexadecimal digits"),
    query("id in capitals", f"/v1/images/{'A' * 64}/nsfw", "id", "64 hexadecimal digits"),
    query("unknown parameter", f"{IMAGE}/nsfw?polcy=strict", "polcy"),
    query("parameter where there are none", "/healthz?verbose=1", "verbose"),
    query("empty parameter", f"{IMAGE}/moderation?policy=", "policy"),
    query("parameter with two values", f"{IMAGE}/moderation?policy=a&policy=b", "policy", "1"),
    query("too many parameters", f"{IMAGE}/nsfw?{'a=1&' * 40}", "query", "32 parameters"),
    query("query that is not UTF-8", f"{IMAGE}/nsfw?fields=%ff", "query"),
    query("malformed policy", f"{IMAGE}/moderation?policy=No!", "policy", "64 characters"),
    query("unknown fields", f"{IMAGE}/nsfw?fields=image(depth)", "fields"),
    query("unclosed fields", f"{IMAGE}/nsfw?fields=image(width", "fields"),
    query("fields below a number", f"{IMAGE}/nsfw?fields=imageId/x", "fields"),
    query("long fields", f"{IMAGE}/nsfw?fields={'imageId,' * 200}imageId", "fields",
          "1000 characters"),
    *(
        Bad(f"timeout {value!r}", "GET", "/v1/models", 400, "INVALID_ARGUMENT",
            "x-request-timeout-ms", "15000 ms", None, {"x-request-timeout-ms": value})
        for value in ("0", "-1", "1.5", "15001", "soon", "\u0661")
    ),
]  # fmt: skip


@pytest.mark.parametrize("bad", UPLOADS + QUESTIONS, ids=lambda bad: bad.name)
async def test_is_refused(rest: World, bad: Bad):
    """Bad input is refused with its status and a problem naming field and limit; nothing stays."""
    body = bad.body() if bad.body else None
    answer = await rest.ask(bad.method, bad.path, body, headers=bad.headers)
    assert (answer.status, answer.json["code"]) == (bad.status, bad.code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json
    assert (problem.get("field", ""), problem.get("limit", "")) == (bad.of, bad.limit)
    assert problem["traceId"] == answer.headers["x-trace-id"]
    assert rest.stored_files() == []
    assert rest.model.predictions == 0


async def test_hints(rest: World):
    """415 says in `Accept` what is taken, 405 in `Allow`."""
    refused = await rest.post("/v1/images", b"x", "text/plain")
    assert refused.headers["Accept"] == TYPES
    assert (await rest.ask("PATCH", IMAGE)).headers["Allow"] == "DELETE, GET, HEAD, PUT"


async def test_details_call_things_by_their_names(rest: World):
    """A problem speaks of the body, whatever the contract between the services calls it."""
    answer = await rest.post("/v1/images", b"I am a cat.")
    assert answer.json["detail"].startswith("body: ")
    other = await rest.ask("PUT", IMAGE, JPEG, headers={"Content-Type": "image/jpeg"})
    assert other.json["detail"].startswith("id: ")


async def test_21_mb_in_chunks(rest: World):
    """A body that does not say its length is refused as soon as it is too long."""
    head = {"Content_Type": "image/jpeg", "Transfer_Encoding": "chunked"}
    async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
        for _ in range(21):
            await sent.send_chunk(bytes(wire.CHUNK))
        # The end of the body is never sent: the answer does not wait for it.
        answer = await sent.answer()
    assert answer.status == 413
    assert wire.problem_of(answer)["limit"] == BYTES
    assert rest.images.uploads == 0


async def test_declared_length_is_refused_unread(rest: World):
    """A length that is too long is refused before a byte of the body is sent."""
    head = {"Content_Type": "image/jpeg", "Content_Length": "21000000", "Expect": "100-continue"}
    async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
        answer = await sent.answer()
    assert answer.status == 413, "100 Continue would have asked for the body"


async def test_expectation_is_answered(rest: World):
    """A client that waits for leave to send its body gets it, once."""
    head = {
        "Content_Type": "image/jpeg",
        "Content_Length": str(len(JPEG)),
        "Expect": "100-continue",
    }
    async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
        assert (await sent.answer()).status == 100
        await sent.send(JPEG)
        assert (await sent.answer()).status == 201


@pytest.mark.parametrize("content_type", ["image/jpeg", FORM])
async def test_hangs_up_halfway(rest: World, content_type: str):
    """A client that leaves in the middle of its body leaves nothing, and disturbs nobody."""
    head = {"Content_Type": content_type, "Content_Length": str(len(JPEG))}
    async with wire.request(rest.port, "POST", "/v1/images", **head) as sent:
        await sent.send(JPEG[:500])
    assert (await rest.post("/v1/images", JPEG[:-2] + b"\xff\xd9")).status == 201
    assert rest.images.uploads == 1
