"""How many HTTP requests there are, how they end, and how long they take."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import AbstractResource
from prometheus_client import CollectorRegistry, Histogram

from services.serving.http_spans import WATCHING
from services.serving.metrics import LATENCIES_S

LEFT: Final = 499
"""The status of requests whose clients have left, as nginx has it: nobody was told any."""

OTHER: Final = "other"
"""Where nothing is, and methods that are none."""

_Key = tuple[str, AbstractResource | None, int]


class HttpMetrics:
    """Requests by method, route and status: as many as the application has, and no path."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._durations = Histogram(
            "visionmesh_http_server_duration_seconds",
            "Requests that were answered, by how long they took",
            ("method", "route", "status"),
            buckets=LATENCIES_S,
            registry=registry,
        )
        self._known: dict[_Key, Histogram] = {}

    def ended(self, request: web.Request, status: int, seconds: float) -> None:
        """Note that a request was answered, unless it was about the process itself."""
        if request.path in WATCHING:
            return
        method = request.method if request.method in hdrs.METH_ALL else OTHER
        key = (method, request.match_info.route.resource, status)
        durations = self._known.get(key)
        if durations is None:
            durations = self._known[key] = self._of(*key)
        durations.observe(seconds)

    def ended_part(self, route: str, status: int, seconds: float) -> None:
        """Note that one of several requests in a POST was answered: to a `route` that there is."""
        self._durations.labels(hdrs.METH_POST, route, str(status)).observe(seconds)

    def _of(self, method: str, resource: AbstractResource | None, status: int) -> Histogram:
        route = resource.canonical if resource else OTHER
        return self._durations.labels(method, route, str(status))
