"""Settings of the nsfw process."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from services.nsfw.types import Parameters
from services.results.memory import MAX_BYTES
from services.serving.settings import ServiceSettings


def available_cores() -> int:
    """Cores that this process may run on: a container's or a task set's, not the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class NsfwSettings(ServiceSettings):
    """What every process has, and how many images are looked at at a time.

    `inference_workers` images run side by side, each on `inference_threads` cores. One thread each
    is the most throughput; more threads shorten a lone request. `decode_min_side` trades last
    digits of the score for time, see docs/decisions/nsfw-decode-while-scaling.md; it is part of the
    version.
    """

    inference_workers: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=available_cores)
    inference_threads: Annotated[int, Field(ge=1, le=256)] = 1
    decode_min_side: Annotated[int, Field(ge=256, le=1536)] = Parameters().decode_min_side

    @property
    def parameters(self) -> Parameters:
        return Parameters(decode_min_side=self.decode_min_side)

    results_memory_bytes: Annotated[int, Field(ge=0)] = MAX_BYTES
