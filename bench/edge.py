"""Small questions to a running mesh's edge, as benchmarks need them before they measure."""

from __future__ import annotations

import json
import urllib.request
from typing import Any


def get(url: str) -> bytes:
    """The body of an answer. Raises urllib.error.HTTPError."""
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
        return body


def post_json(url: str, content: str) -> bytes:
    """The body of an answer to some JSON. Raises urllib.error.HTTPError."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, content.encode(), headers)
    with urllib.request.urlopen(request) as answer:
        body: bytes = answer.read()
        return body


def get_json(url: str) -> Any:
    """An answer's JSON."""
    return json.loads(get(url))


def current_release(edge_url: str) -> str:
    """The release that answers name at the moment."""
    name: str = get_json(f"{edge_url}/v1/releases/current")["release"]
    return name
