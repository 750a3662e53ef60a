"""Options that several commands have, and how errors reach a person."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from mesh.errors import MeshError
from services.errors import VisionmeshError

P = ParamSpec("P")
T = TypeVar("T")

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="VISIONMESH_DATA_DIR",
        metavar="DIR",
        help="The mesh's data directory.",
    ),
]

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="VISIONMESH_CONFIG",
        metavar="FILE",
        help="The mesh's configuration. By default mesh.yaml in the data directory.",
    ),
]

FAILED = 1
"""Exit status of a command that failed for a reason without one of its own."""


def reported(command: Callable[P, T]) -> Callable[P, T]:
    """Tell expected errors in one line on standard error, and exit with their status."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except (MeshError, VisionmeshError) as error:
            typer.echo(f"visionmesh: {error}", err=True)
            status = error.exit_status if isinstance(error, MeshError) else FAILED
            raise typer.Exit(status) from None

    return run
