"""The catalog as programs to run: command lines, environments, and how to ask for health."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mesh import proxy, state
from mesh.child import Program
from mesh.health import GrpcProbe, HttpProbe, Probe
from mesh.ports import HOST
from services.catalog import ADMIN_OFFSET, DEFAULT_PORT, MESH_OFFSET, PROCESSES, Process

ENVOY: Final = "envoy"

# Who takes requests from outside stops first and finishes them while what it calls still runs.
HTTP_TIER, ENVOY_TIER, GRPC_TIER = range(3)


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """What may differ between two meshes. `replicas` are those that differ from the catalog's."""

    port: int = DEFAULT_PORT
    data_dir: Path = state.DEFAULT
    replicas: Mapping[str, int] = field(default_factory=dict)
    store_url: str = ""
    log_level: str = "info"
    log_json: bool = False

    @property
    def mesh_address(self) -> str:
        return f"{HOST}:{self.port + MESH_OFFSET}"

    @property
    def admin_port(self) -> int:
        return self.port + ADMIN_OFFSET


def probe_of(process: Process, port: int) -> Probe:
    """How a replica of a process is asked for its health."""
    if process.grpc_service:
        return GrpcProbe(port, process.grpc_service)
    return HttpProbe(port, "/healthz")


def envoy_probe(admin_port: int) -> Probe:
    """How Envoy is asked for its health."""
    return HttpProbe(admin_port, "/ready")


def service_programs(
    options: MeshOptions, data: state.DataDir, replicas: Mapping[str, int]
) -> list[Program]:
    """Every replica of every process of the catalog."""
    return [
        Program(
            name=process.name,
            replica=replica,
            replicas=replicas[process.name],
            # -P: what the current directory happens to hold is not the mesh's.
            argv=(sys.executable, "-P", "-m", process.module),
            env=_environment(options, data, process.port(options.port, replica)),
            port=process.port(options.port, replica),
            probe=probe_of(process, process.port(options.port, replica)),
            tier=GRPC_TIER if process.grpc_service else HTTP_TIER,
        )
        for process in PROCESSES
        for replica in range(replicas[process.name])
    ]


def proxy_settings(options: MeshOptions, data: state.DataDir) -> proxy.ProxySettings:
    """The Envoy of a mesh, with all that it writes below the data directory."""
    return proxy.ProxySettings(
        host=HOST,
        port=options.port,
        mesh_port=options.port + MESH_OFFSET,
        admin_port=options.admin_port,
        cache_dir=data.cache,
        endpoints_dir=data.endpoints,
        access_log=data.logs / "access.log",
    )


def envoy_program(options: MeshOptions, data: state.DataDir) -> Program:
    """The real Envoy, started with the data directory's `envoy.yaml`."""
    return Program(
        name=ENVOY,
        argv=tuple(proxy.command(data.envoy_config, proxy_settings(options, data))),
        env=os.environ,
        port=options.port,
        probe=envoy_probe(options.admin_port),
        tier=ENVOY_TIER,
    )


def _environment(options: MeshOptions, data: state.DataDir, port: int) -> dict[str, str]:
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "VISIONMESH_HOST": HOST,
        "VISIONMESH_PORT": str(port),
        "VISIONMESH_DATA_DIR": str(data.root),
        "VISIONMESH_MESH_ADDRESS": options.mesh_address,
        "VISIONMESH_LOG_LEVEL": options.log_level,
        "VISIONMESH_LOG_JSON": str(options.log_json).lower(),
    }
    if options.store_url:
        environment["VISIONMESH_STORE_URL"] = options.store_url
    return environment
