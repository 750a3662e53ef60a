"""Settings of the images service."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, Field

from services.images.retention import check_tenant
from services.serving.settings import ServiceSettings

Tenant = Annotated[str, AfterValidator(check_tenant)]
Days = Annotated[float, Field(gt=0, le=36_500)]


class ImagesSettings(ServiceSettings):
    """What every process has, and how much is taken in at once.

    `decode_concurrency` images are decoded at the same time (VISIONMESH_DECODE_CONCURRENCY), and
    `max_uploads` may be in the process (VISIONMESH_MAX_UPLOADS), up to 20 MB of memory each; more
    are refused before any work is done. `retention_days` says for how many days after its last
    upload an image is kept, by tenant, `*` for those not named (VISIONMESH_RETENTION_DAYS, as JSON:
    `{"acme": 30, "*": 365}`); tenants of whom nothing is said keep theirs for ever.
    """

    decode_concurrency: Annotated[int, Field(ge=1)] = os.cpu_count() or 1
    max_uploads: Annotated[int, Field(ge=1)] = 32
    retention_days: dict[Tenant, Days] = Field(default_factory=dict)
