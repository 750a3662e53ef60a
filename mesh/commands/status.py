"""`visionmesh status`: every process of a running mesh, and what ails it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mesh import state
from mesh.commands.options import Data, reported

if TYPE_CHECKING:
    from mesh.inspection import Inspection, Row

UNKNOWN: Final = "-"

UNHEALTHY: Final = 1
"""Exit status when a process of a running mesh is not healthy."""


@reported
def status(
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", help="Edge port of the mesh, when it is not --data's."),
    ] = None,
    data: Data = state.DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show process, version, health and latency of a running mesh.

    Below the table stands what does not work as it should, although requests are answered; --json
    adds what each process has counted.

    Exits with 0 when all are healthy, 1 when one is not, 3 when no mesh runs.
    """
    from mesh.inspection import inspect

    found = asyncio.run(inspect(state.DataDir(data), port))
    if as_json:
        document = {"url": found.url, "healthy": found.healthy}
        processes = [asdict(row) for row in found.processes]
        typer.echo(json.dumps({**document, "processes": processes}, indent=2))
    else:
        _print_table(found)
    raise typer.Exit(0 if found.healthy else UNHEALTHY)


def _print_table(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("process", "replica", "port", "pid", "version", "health"):
        table.add_column(name, no_wrap=name != "health")
    for name in ("latency", "uptime", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.processes:
        health = Text(row.health, style="green" if row.healthy else "bold red")
        table.add_row(*_identity(row), health, *_numbers(row))
    # Piped into a file or another program, nothing is cut off.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    for row in found.processes:
        for condition in row.conditions:
            said = f"{row.process}.{row.replica} {condition.component}: {condition.message}"
            console.print(Text(said, style="yellow"), soft_wrap=True)


def _identity(row: Row) -> list[str]:
    return [
        row.process,
        str(row.replica),
        str(row.port),
        str(row.pid or UNKNOWN),
        row.version or UNKNOWN,
    ]


def _numbers(row: Row) -> list[str]:
    return [
        UNKNOWN if row.latency_ms is None else f"{row.latency_ms:.1f} ms",
        UNKNOWN if row.uptime_s is None else _duration(row.uptime_s),
        UNKNOWN if row.restarts is None else str(row.restarts),
    ]


def _duration(seconds: float) -> str:
    """Two units at most, as in `3 h 20 min`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
