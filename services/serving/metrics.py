"""What a process measures, as Prometheus reads it: the one place.

docs/metrics.md lists every metric of every process. What is counted for `visionmesh status` already
(diagnostics.py) is not counted a second time: `_Diagnosed` says it in Prometheus' words.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.serving.diagnostics import OUTCOMES, Diagnostics

LATENCIES_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 15.0, 60.0),
)
"""Bounds of histograms of time: from what memory answers to the longest deadline."""


class _Counted(NamedTuple):
    """What a counter of `Diagnostics` is called here, and which of its kind it is."""

    name: str
    labels: Mapping[str, str] = MappingProxyType({})


_HITS: Final = "visionmesh_result_cache_hits"
_NOT_STORED: Final = "visionmesh_results_not_stored"
_OUTCOMES: Final = "visionmesh_outcomes"

COUNTED: Final[Mapping[str, _Counted]] = {
    "results.memory.hits": _Counted(_HITS, {"tier": "memory"}),
    "results.shared.hits": _Counted(_HITS, {"tier": "shared"}),
    "results.durable.hits": _Counted(_HITS, {"tier": "durable"}),
    "results.misses": _Counted("visionmesh_result_cache_misses"),
    "results.durable.failed": _Counted(_NOT_STORED, {"reason": "failed"}),
    "results.durable.dropped": _Counted(_NOT_STORED, {"reason": "dropped"}),
    "flights.joined": _Counted("visionmesh_flights_joined"),
    "inferences": _Counted("visionmesh_predictions"),
    "derivations": _Counted("visionmesh_derivations"),
    "audit.lost": _Counted("visionmesh_audit_entries_lost"),
}
"""The counters of `Diagnostics` but for two kinds: `outcomes.` and a code, and `calls.` and a
method, of which the durations of calls say more."""

_SAID: Final = {
    _HITS: "Results that were found, by where",
    "visionmesh_result_cache_misses": "Results that were found nowhere",
    _NOT_STORED: "Results that the object store was not given or did not take",
    "visionmesh_flights_joined": "Who found what they asked for on its way already",
    "visionmesh_predictions": "Images that the model has looked at",
    "visionmesh_derivations": "Answers that were derived from what the model made",
    "visionmesh_audit_entries_lost": "Audit entries that were never written",
    _OUTCOMES: "Images of calls, by what became of them",
}


def registry_of(process: str, diagnostics: Diagnostics) -> CollectorRegistry:
    """The metrics of one process, to which its parts add theirs. `process` is its name."""
    # Of a series beside each counter, which nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    Gauge(
        "visionmesh_build_info", "1, with what runs", ("process", "version"), registry=registry
    ).labels(process, importlib.metadata.version("visionmesh")).set(1)
    registry.register(_Diagnosed(diagnostics))
    return registry


@asynccontextmanager
async def exposed(
    registry: CollectorRegistry | None, host: str, port: int | None
) -> AsyncIterator[int | None]:
    """Answer Prometheus for as long as the context lasts, and yield the port; None without one.

    In a thread of its own: who asks need not wait for the event loop, nor the loop for them. Raises
    OSError when the port is taken.
    """
    if registry is None or port is None:
        yield None
        return
    server, thread = start_http_server(port, host, registry)
    try:
        yield int(server.server_port)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()


class _Diagnosed(Collector):
    """The counters and conditions of a process. Asked from another thread than counts."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for counter, value in dict(self._diagnostics.counters).items():
            if (counted := _counted(counter)) is None:
                continue
            name, labels = counted
            if name not in families:
                families[name] = CounterMetricFamily(name, _SAID[name], labels=tuple(labels))
            families[name].add_metric(tuple(labels.values()), value)
        yield from families.values()
        conditions = GaugeMetricFamily(
            "visionmesh_condition",
            "1 while a component does not work as it should",
            labels=("component",),
        )
        for component, message in self._diagnostics.watched.items():
            conditions.add_metric((component,), 1 if message else 0)
        yield conditions

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before it is counted."""
        return ()


def _counted(counter: str) -> _Counted | None:
    if counter.startswith(OUTCOMES):
        return _Counted(_OUTCOMES, {"code": counter.removeprefix(OUTCOMES)})
    return COUNTED.get(counter)
