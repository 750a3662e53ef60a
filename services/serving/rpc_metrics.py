"""How many gRPC calls there are, how they end, and how long they take."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from prometheus_client import CollectorRegistry, Histogram

from services.serving.metrics import LATENCIES_S

Ended = Callable[[grpc.StatusCode, float], None]
"""Notes that a call has ended with a code, after so many seconds."""


class RpcMetrics:
    """Calls by method and code: both are bounded, as only methods that are served are called."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._durations = Histogram(
            "visionmesh_rpc_server_duration_seconds",
            "Calls that were answered, by how long they took",
            ("method", "code"),
            buckets=LATENCIES_S,
            registry=registry,
        )

    def of(self, path: str) -> Ended:
        """For the calls of one method. Looks nothing up by labels but a code's first time."""
        method = path.removeprefix("/")
        by_code: dict[grpc.StatusCode, Histogram] = {}

        def ended(code: grpc.StatusCode, seconds: float) -> None:
            durations = by_code.get(code)
            if durations is None:
                durations = by_code[code] = self._durations.labels(method, code.name)
            durations.observe(seconds)

        return ended
