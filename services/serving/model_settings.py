"""Settings that every process with a model has."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from services.results.memory import MAX_BYTES
from services.serving.settings import ServiceSettings


def available_cores() -> int:
    """Cores that this process may run on: a container's or a task set's, not the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ModelSettings(ServiceSettings):
    """What every process has, and how many images are looked at at a time.

    `inference_workers` images run side by side, each on `inference_threads` cores. One thread each
    is the most throughput; more threads shorten a lone request. `results_memory_bytes` is what
    results may take in memory, where they are nearest.
    """

    inference_workers: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=available_cores)
    inference_threads: Annotated[int, Field(ge=1, le=256)] = 1
    results_memory_bytes: Annotated[int, Field(ge=0)] = MAX_BYTES
