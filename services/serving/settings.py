"""Settings that every process of the mesh has, read from `VISIONMESH_*` variables."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.catalog import DEFAULT_PORT, MESH_OFFSET
from services.limits import REDIS_BUDGET_S
from services.serving.ending import LAME_DUCK_S


class ServiceSettings(BaseSettings):
    """Where a process listens, keeps its data, and finds the others.

    `store_url` names the object store (`s3://…`, `gs://…`, `az://…`, `file://…`); empty means a
    folder below `data_dir`. `mesh_address` is Envoy's mesh listener, the one way to other services.
    `metrics_port` is where Prometheus is answered, at `metrics_host`: any free one with 0, nowhere
    without one. `token` is the secret that Envoy and the processes of one mesh share: only who has
    it may say for which tenant it calls. Without one there is one tenant, `local`, and `host` must
    be loopback's: everybody who reaches it would be that tenant. `redis_url` names the Redis that
    replicas share results through, empty means none; what it does not do within `redis_budget_s`
    seconds is done without it. `lame_duck_s` is for how many seconds a process serves on after
    SIGTERM, while it says that it does not. Lines of the log are JSON where nobody looks at a
    terminal, unless `log_json` says otherwise.
    """

    model_config = SettingsConfigDict(env_prefix="VISIONMESH_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = 0
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int | None, Field(ge=0, le=65_535)] = None
    data_dir: Path = Path(".visionmesh")
    store_url: str = ""
    token: str = Field(default="", validate_default=True)
    redis_url: str = ""
    redis_budget_s: Annotated[float, Field(gt=0, le=60)] = REDIS_BUDGET_S
    mesh_address: str = f"127.0.0.1:{DEFAULT_PORT + MESH_OFFSET}"
    lame_duck_s: Annotated[float, Field(ge=0)] = LAME_DUCK_S
    log_level: str = "info"
    log_json: bool = Field(default_factory=lambda: not sys.stderr.isatty())

    @field_validator("token")
    @classmethod
    def _needed_elsewhere(cls, token: str, info: ValidationInfo) -> str:
        host = info.data.get("host")  # empty, it stands for every address
        if host is not None and not token and not _is_loopback(host):
            raise ValueError(f"is needed to listen at {host!r}: without one only at 127.0.0.1")
        return token

    @property
    def object_store(self) -> str | Path:
        """What `Objects.open` takes."""
        return self.store_url or self.data_dir / "objects"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
