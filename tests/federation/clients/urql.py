"""urql, a client that nobody here wrote, as a process that asks any endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from mesh.programs import NODE
from tests.federation.gateway import PATIENCE_S

PROGRAM: Final = Path(__file__).with_name("urql.mjs")


@dataclass(frozen=True)
class Request:
    """One that urql sent, and how it was answered."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]

    @property
    def parameters(self) -> dict[str, str]:
        """Of the URL, decoded."""
        return {name: value for name, (value,) in parse_qs(urlsplit(self.url).query).items()}


@dataclass(frozen=True)
class Asked:
    """What a program that uses urql got, and what was sent for it."""

    answers: list[dict[str, Any]]
    requests: list[Request]


async def urql(
    url: str,
    document: str,
    variables: Mapping[str, Any],
    *,
    known: bool,
    headers: Mapping[str, str] | None = None,
    times: int = 1,
) -> Asked:
    """Ask an endpoint for a document, so many times one after another, over GET by its hash.

    With `known` only by its hash; else with its text too when the endpoint wants that.
    """
    asked = {
        "url": url,
        "document": document,
        "variables": variables,
        "headers": headers or {},
        "known": known,
        "times": times,
    }
    process = await asyncio.create_subprocess_exec(
        NODE,
        PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complained = await asyncio.wait_for(
            process.communicate(json.dumps(asked).encode()), PATIENCE_S
        )
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complained.decode()
    content = json.loads(said)
    return Asked(content["answers"], [Request(**request) for request in content["requests"]])
