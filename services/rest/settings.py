"""Settings of the REST facade."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.serving.settings import ServiceSettings

VIEWER_DIR: Final = Path(__file__).resolve().parents[2] / "node_modules" / "swagger-ui-dist"
"""Where `npm ci` puts the API viewer in a checkout."""


class RestSettings(ServiceSettings):
    """What every process has, and what the facade needs; sizes in bytes, times in seconds.

    `viewer_dir` holds the assets of npm's swagger-ui-dist (`VISIONMESH_VIEWER_DIR`).
    `upload_budget_bytes` bounds the bodies that are in memory at once: a request that would exceed
    it is refused. `body_timeout_s` is how long a client may take to send one body.
    `versions_ttl_s` is how long a model's and a policy's version is believed.
    """

    viewer_dir: Path = VIEWER_DIR
    access_log: bool = False
    upload_budget_bytes: int = 512_000_000
    body_timeout_s: float = 60.0
    versions_ttl_s: float = 2.0
