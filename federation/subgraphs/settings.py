"""Settings of the subgraphs' process."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.serving.settings import ServiceSettings


class SubgraphSettings(ServiceSettings):
    """What every process has, and what subgraphs need; sizes in bytes, times in seconds.

    `subgraphs` are the names of those that this process serves, with commas between; empty means
    all. `upload_budget_bytes` bounds the bodies that are in memory at once, `versions_ttl_s` is how
    long a model's and a policy's version is believed.
    """

    subgraphs: str = ""
    access_log: bool = False
    upload_budget_bytes: Annotated[int, Field(gt=0)] = 512_000_000
    body_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    versions_ttl_s: Annotated[float, Field(ge=0)] = 2.0
