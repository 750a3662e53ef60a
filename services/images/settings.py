"""Settings of the images service."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from services.serving.settings import ServiceSettings


class ImagesSettings(ServiceSettings):
    """What every process has, and how much is taken in at once.

    `decode_concurrency` images are decoded at the same time (VISIONMESH_DECODE_CONCURRENCY), and
    `max_uploads` may be in the process (VISIONMESH_MAX_UPLOADS), up to 20 MB of memory each; more
    are refused before any work is done.
    """

    decode_concurrency: Annotated[int, Field(ge=1)] = os.cpu_count() or 1
    max_uploads: Annotated[int, Field(ge=1)] = 32
