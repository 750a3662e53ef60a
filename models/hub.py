"""Downloading one file from a model hub, over the HTTP that Hugging Face's hub speaks.

`HF_ENDPOINT` names another hub or a mirror, `HF_TOKEN` opens what is private or gated: the
variables that Hugging Face's own tools read. Proxies and certificates are found as everywhere
(`HTTPS_PROXY`, `SSL_CERT_FILE`). https://huggingface.co/docs/hub/models-downloading
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp

from models.entry import COMMIT, HubFile
from services.errors import ModelFileError

ENDPOINT: Final = "https://huggingface.co"

MAX_BYTES: Final = 2 << 30
"""Of a file whose size is not registered: more no ONNX file can be, it is one protobuf message."""

CONNECT_S: Final = 30.0
SILENCE_S: Final = 60.0
"""How long nothing may come of a download that has begun. Both are guesses on the patient side."""

MAX_CONNECTIONS: Final = 5
"""How often a download that breaks off is taken up again, where it broke off."""

MAX_REDIRECTS: Final = 5
"""From the hub to a renamed repository to its storage, and two more."""

_CHUNK: Final = 1 << 20
_SHOWN: Final = 200


@dataclass(frozen=True)
class Published:
    """What a hub says of a file: its commit, SHA-256 and size; None where it says nothing."""

    commit: str | None
    sha256: str | None
    size: int | None


class _Interrupted(Exception):
    """The connection broke while the file came."""


def download_hub_file(file: HubFile, target: Path, *, max_bytes: int = MAX_BYTES) -> Published:
    """Write a hub's file to `target`, and say what the hub says of it. The caller compares hashes.

    What is longer than `max_bytes` is cut one byte behind that. Runs an event loop of its own, so
    it is not to be called on one. Raises ModelFileError when the hub cannot be reached, has no such
    file or does not give it, or breaks off again and again; OSError when `target` cannot be
    written.
    """
    with target.open("wb") as stream:
        return asyncio.run(_download(file, stream, max_bytes))


async def _download(file: HubFile, stream: BinaryIO, max_bytes: int) -> Published:
    endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    url = f"{endpoint}/{file.repo}/resolve/{file.revision}/{file.file}"
    # Compressed on the way, offsets and lengths would not be those of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "visionmesh"}
    if token := os.environ.get("HF_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=SILENCE_S)
    try:
        # Sent on to another host, aiohttp takes the token out.
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, trust_env=True
        ) as session:
            for _ in range(MAX_CONNECTIONS):
                try:
                    return await _receive(session, url, file, stream, max_bytes)
                except _Interrupted as error:
                    problem = error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
        raise ModelFileError(f"{file} cannot be downloaded: no valid URL: {error}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise ModelFileError(f"{file} cannot be downloaded from {endpoint}: {reason}") from error
    raise ModelFileError(
        f"{file} cannot be downloaded: broken off {MAX_CONNECTIONS} times, the last time after "
        f"{stream.tell()} bytes: {problem}"
    )


async def _receive(
    session: aiohttp.ClientSession, url: str, file: HubFile, stream: BinaryIO, max_bytes: int
) -> Published:
    """One connection's worth: what `stream`, which stands at its end, does not have yet."""
    have = stream.tell()
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with session.get(url, headers=headers, max_redirects=MAX_REDIRECTS) as response:
        if response.status not in (200, 206, 416):
            raise ModelFileError(f"{file} cannot be downloaded: {_refusal(response)}")
        if not _continues(response, have):
            stream.seek(0)
            stream.truncate()
        if response.status == 416 or (response.status == 206 and not stream.tell()):
            raise _Interrupted("the hub gives another part than the one that was asked for")
        try:
            async for chunk in response.content.iter_chunked(_CHUNK):
                stream.write(chunk[: max_bytes + 1 - stream.tell()])
                if stream.tell() > max_bytes:
                    break
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _Interrupted(str(error) or type(error).__name__) from error
        return _published(_first_headers(response))


def _first_headers(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    """The headers of the first answer that names a commit: the hub's own, not its storage's."""
    for answer in (*response.history, response):
        if "X-Repo-Commit" in answer.headers:
            return answer.headers
    return response.headers


def _continues(response: aiohttp.ClientResponse, have: int) -> bool:
    """Whether an answer begins where the file ends that is there."""
    given = response.headers.get("Content-Range", "")
    return response.status == 206 and given.startswith(f"bytes {have}-")


def _refusal(response: aiohttp.ClientResponse) -> str:
    """Why a hub gives no file, on one line."""
    said = response.headers.get("X-Error-Message") or response.reason or ""
    reason = " ".join(f"{response.status} {said}".split())[:_SHOWN]
    if response.status in (401, 403):
        # Without a token a hub does not say whether there is no repository or a private one.
        return f"{reason} (no such repository, or one that HF_TOKEN must open)"
    return reason


def _published(headers: Mapping[str, str]) -> Published:
    commit = headers.get("X-Repo-Commit", "")
    digest = headers.get("X-Linked-Etag", "").strip('"')
    size = headers.get("X-Linked-Size", "")
    return Published(
        commit if COMMIT.fullmatch(commit) else None,
        digest if re.fullmatch("[0-9a-f]{64}", digest) else None,
        int(size) if size.isdecimal() else None,
    )
