"""Settings that every process with a model has."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from services.inference.turns import MAX_WAITING
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
    is the most throughput; more threads shorten a lone request. Up to `max_waiting` more wait for
    their turn. `results_memory_bytes` is what results may take in memory, where they are nearest.
    """

    inference_workers: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=available_cores)
    inference_threads: Annotated[int, Field(ge=1, le=256)] = 1
    max_waiting: Annotated[int, Field(ge=1, le=100_000)] = MAX_WAITING
    results_memory_bytes: Annotated[int, Field(ge=0)] = MAX_BYTES

    @property
    def batching(self) -> tuple[int, float]:
        """Images that one inference takes at most, and seconds that it waits for them."""
        return 1, 0.0


class BatchSettings(ModelSettings):
    """Of a model whose graph takes several images at once.

    One inference takes up to `batch_size` images, of those that wait when a worker is free. With
    `batch_wait_ms` it waits so long for more to come; a CPU gains nothing by that.
    """

    batch_size: Annotated[int, Field(ge=1, le=128)] = 1
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0

    @property
    def batching(self) -> tuple[int, float]:
        return self.batch_size, self.batch_wait_ms / 1000
