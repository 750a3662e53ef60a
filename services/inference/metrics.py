"""What a model's process measures of its inferences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

INFERENCES_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128)

Queue = Literal["turns", "jobs"]
"""What waits for its turn, of which there is a limit, and what waits for a thread then."""


class FileMetrics:
    """The inferences of one weight file, from whatever thread."""

    def __init__(self, seconds: Histogram, sizes: Histogram) -> None:
        self._seconds = seconds
        self._sizes = sizes

    def ran(self, size: int, seconds: float) -> None:
        """Note an inference of so many inputs."""
        self._sizes.observe(size)
        self._seconds.observe(seconds)


class ModelMetrics:
    """One model's: its parts say here what they do, and what waits for them."""

    def __init__(self, model: str, registry: CollectorRegistry | None = None) -> None:
        self.model = model
        self._seconds = Histogram(
            "visionmesh_model_inference_seconds",
            "Inferences, by how long they took",
            ("model", "file"),
            buckets=INFERENCES_S,
            registry=registry,
        )
        self._sizes = Histogram(
            "visionmesh_model_batch_size",
            "Inferences, by how many inputs they had",
            ("model", "file"),
            buckets=BATCHES,
            registry=registry,
        )
        self._depth = Gauge(
            "visionmesh_model_queue_depth",
            "What waits at the moment",
            ("model", "queue"),
            registry=registry,
        )
        self._waits = Histogram(
            "visionmesh_model_queue_seconds",
            "Turns that had to be waited for, by how long that took",
            ("model",),
            buckets=INFERENCES_S,
            registry=registry,
        ).labels(model)
        self._limit = Gauge(
            "visionmesh_model_queue_limit",
            "How much may wait for its turn before callers are refused",
            ("model",),
            registry=registry,
        )
        self._cpu = Counter(
            "visionmesh_model_cpu_seconds",
            "CPU seconds of the threads that infer, with what they prepare and finish",
            ("model",),
            registry=registry,
        ).labels(model)
        self._waiting: dict[Queue, list[Callable[[], int]]] = {}

    def of(self, file: str) -> FileMetrics:
        """For one weight file, or what stands for one."""
        return FileMetrics(
            self._seconds.labels(self.model, file), self._sizes.labels(self.model, file)
        )

    def used(self, seconds: float) -> None:
        """Note what a job took of a core, from whatever thread."""
        self._cpu.inc(seconds)

    def waited(self, seconds: float) -> None:
        """Note that a turn has come that was waited for."""
        self._waits.observe(seconds)

    def queue(self, queue: Queue, waiting: Callable[[], int], limit: int = 0) -> None:
        """Ask `waiting` how much waits whenever somebody wants to know, from another thread."""
        if queue not in self._waiting:
            asked = self._waiting[queue] = []
            self._depth.labels(self.model, queue).set_function(lambda: sum(one() for one in asked))
        self._waiting[queue].append(waiting)
        if limit:
            self._limit.labels(self.model).set(limit)
