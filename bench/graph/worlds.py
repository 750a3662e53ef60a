"""Meshes whose models are simulated: Envoy, facade, gateway and subgraphs are the real ones."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench import load
from bench.graph.simulated import environment
from bench.photos import each_photo, upload
from mesh.launcher import Mesh, running_mesh
from services.catalog import MODELS

WIDTH: Final = 64
HEIGHT: Final = 48
"""Of the images: no model looks at them, and their upload is not measured."""


class Simulation:
    """A mesh, and images of it that nobody has asked about."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._made = 0

    async def images(self, count: int) -> list[str]:
        """Store so many images that are not there yet; their ids."""
        made = each_photo(count, first=self._made, width=WIDTH, height=HEIGHT)
        self._made += count
        return await upload(self.mesh.mesh_address, list(made))


@asynccontextmanager
async def simulated_mesh(service_ms: float, *, stubbed: bool = False) -> AsyncIterator[Simulation]:
    """A mesh in which every call of a model takes `service_ms`.

    When `stubbed` the subgraphs do not call models at all, and answer what they would have said.
    """
    modules = dict.fromkeys((process.name for process in MODELS), "bench.graph.simulated")
    if stubbed:
        modules["subgraphs"] = "bench.graph.stubbed"
    told = {(process.name, 0): environment(process.name, service_ms) for process in MODELS}
    with tempfile.TemporaryDirectory(prefix="graph-") as folder:
        async with running_mesh(
            Path(folder), log_level="warning", replica_env=told, modules=modules
        ) as mesh:
            yield Simulation(mesh)


def drive(
    mesh: Mesh,
    clients: int,
    paths: list[str],
    bodies: list[str] | None = None,
    *,
    in_a_row: int = 1,
    unwanted: str = "",
) -> load.Report:
    """Ask a mesh's edge from a process of its own. Raises SystemExit when something is refused."""
    report = load.run(
        load.Job(
            "127.0.0.1",
            mesh.options.port,
            clients,
            paths,
            bodies=bodies or [],
            in_a_row=in_a_row,
            unwanted=unwanted,
        )
    )
    if report.failures:
        raise SystemExit(f"{len(report.failures)} requests failed: {report.failures[0]}")
    return report
