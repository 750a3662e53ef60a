"""Downloading packages with the real npm, from a registry on this machine."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.archive import read_member
from models.entry import Tarball
from models.npm import download_tarball
from services.errors import ModelFileError

GRAPH = b"{}"


def tarball_of(files: dict[str, bytes]) -> bytes:
    with io.BytesIO() as written:
        with tarfile.open(fileobj=written, mode="w:gz") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return written.getvalue()


@pytest.fixture
def tarball(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tarball]:
    """A package of a registry that has this one, and npm set up to use it."""
    manifest = {"name": "@some/model", "version": "1.2.3"}
    data = tarball_of(
        {"package/package.json": json.dumps(manifest).encode(), "package/m/graph.json": GRAPH}
    )

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = f"http://127.0.0.1:{server.server_port}"
            if self.path.endswith(".tgz"):
                body = data
            elif self.path.lower() == "/@some%2fmodel":
                integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
                dist = {"tarball": f"{base}/model-1.2.3.tgz", "integrity": integrity}
                about = {"versions": {"1.2.3": {**manifest, "dist": dist}}, "dist-tags": {}}
                body = json.dumps({"name": "@some/model", **about}).encode()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    yield Tarball(
        package="@some/model",
        version="1.2.3",
        filename="some-model-1.2.3.tgz",
        sha256=hashlib.sha256(data).hexdigest(),
    )
    server.shutdown()
    server.server_close()
    thread.join()


def test_npm_brings_the_pinned_package(tarball: Tarball, tmp_path: Path):
    """npm, configured by its own variables, brings the very package that is pinned."""
    archive = download_tarball(tarball, tmp_path)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == tarball.sha256
    assert read_member(archive, "package/m/graph.json", 10) == GRAPH


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": "9.9.9"}, "cannot be downloaded"),
        ({"package": "@some/other"}, "cannot be downloaded"),
        ({"filename": "other.tgz"}, "is not what npm downloaded"),
    ],
    ids=["version", "package", "filename"],
)
def test_what_npm_does_not_have_is_an_error(
    tarball: Tarball, tmp_path: Path, changed: dict[str, str], words: str
):
    """A package or version that is not there is an error on one line."""
    with pytest.raises(ModelFileError, match=words) as failure:
        download_tarball(tarball.model_copy(update=changed), tmp_path)
    assert "\n" not in failure.value.message


@pytest.mark.parametrize(
    ("member", "max_bytes", "words"),
    [
        ("package/nothing", 10, "holds no package/nothing"),
        ("package/m", 10, "holds no package/m"),
        ("package/m/graph.json", 1, "is longer than 1 bytes"),
    ],
)
def test_member_that_cannot_be_read(
    tarball: Tarball, tmp_path: Path, member: str, max_bytes: int, words: str
):
    """A file that is not in the package, or is longer than expected, is an error."""
    archive = download_tarball(tarball, tmp_path)
    with pytest.raises(ModelFileError, match=words):
        read_member(archive, member, max_bytes)


@pytest.mark.parametrize(
    "data",
    [b"", b"not an archive", tarball_of({"a": bytes(5000)})[:-20]],
    ids=["empty", "text", "cut off"],
)
def test_archive_that_is_none_is_an_error(tmp_path: Path, data: bytes):
    """A package that is cut or no archive at all is an error, not a traceback."""
    archive = tmp_path / "package.tgz"
    archive.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"package\.tgz (cannot be read|holds no)"):
        read_member(archive, "b", 10)
