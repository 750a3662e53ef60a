"""A model hub on this machine: answers as Hugging Face's does, with its storage on another host.

A file in Git LFS or Xet is a redirect (302) to signed storage, with the commit, the SHA-256 and the
size in the redirect's headers; storage serves ranges. Small files come from the hub itself. What
is not there is 404 with a reason, or, without a token, 401: the hub does not say that a repository
is private. https://github.com/huggingface/huggingface_hub, src/huggingface_hub/file_download.py
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPO = "some-org/some-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret"


@dataclass
class Hub:
    """What the hub has, how it misbehaves, and what it was asked."""

    files: dict[str, bytes]
    renamed_from: str = ""
    is_private: bool = False
    keeps_inline: bool = False
    """Whether files come from the hub itself, as small ones do."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes storage breaks off, one entry a connection."""
    serves_ranges: bool = True
    says: dict[str, str] = field(default_factory=dict)
    """Headers of the hub in place of the true ones; empty ones are left out."""
    down: int = 0
    """A status that storage answers everything with."""
    endpoint: str = ""
    storage: str = ""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Host's name, `Range` and `Authorization` of each request for a file."""


@contextmanager
def running(files: dict[str, bytes]) -> Iterator[Hub]:
    """A hub whose one repository, `REPO`, has these files at `COMMIT`, which is also `main`."""
    hub = Hub(files)

    class HubHandler(_Handler):
        def do_GET(self) -> None:
            _, owner, name, _resolve, revision, path = self.path.split("/", 5)
            repo = f"{owner}/{name}"
            token = self.headers.get("Authorization")
            hub.asked.append(("hub", self.headers.get("Range"), token))
            if hub.renamed_from and repo == hub.renamed_from:
                location = self.path.replace(repo, REPO, 1)
                self.answer(307, {"Location": location})
            elif repo != REPO or (hub.is_private and token != f"Bearer {TOKEN}"):
                self.answer(401, {"X-Error-Message": "Invalid username or password."})
            elif revision not in (COMMIT, "main"):
                self.answer(404, {"X-Error-Message": f"Invalid rev id: {revision}"})
            elif path not in hub.files:
                self.answer(404, {"X-Error-Message": "Entry not found", "X-Repo-Commit": COMMIT})
            elif hub.keeps_inline:
                self.answer(200, self.about(hub.files[path]), hub.files[path])
            else:
                digest = hashlib.sha256(hub.files[path]).hexdigest()
                location = f"{hub.storage}/{digest}?Signature=signed"
                self.answer(302, {**self.about(hub.files[path]), "Location": location})

        def about(self, data: bytes) -> dict[str, str]:
            true = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
            }
            return {name: value for name, value in {**true, **hub.says}.items() if value}

    class StorageHandler(_Handler):
        def do_GET(self) -> None:
            token, wanted = self.headers.get("Authorization"), self.headers.get("Range")
            hub.asked.append(("storage", wanted, token))
            if hub.down:
                self.answer(hub.down, {})
                return
            digest = self.path[1:].partition("?")[0]
            data = next(d for d in hub.files.values() if hashlib.sha256(d).hexdigest() == digest)
            status, headers = 200, {"ETag": f'"{digest[:32]}"'}
            if wanted and hub.serves_ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                status, data = 206, data[start:]
            cut = hub.cuts.pop(0) if hub.cuts else len(data)
            self.answer(status, {**headers, "Content-Length": str(len(data))}, data[:cut])

    with _serving(HubHandler) as hub.endpoint, _serving(StorageHandler) as hub.storage:
        yield hub


class _Handler(BaseHTTPRequestHandler):
    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
