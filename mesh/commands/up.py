"""`visionmesh up`: the whole mesh in the foreground."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from mesh import state
from mesh.commands.options import Config, Data, reported
from mesh.errors import InvalidOption
from services.catalog import DEFAULT_PORT

if TYPE_CHECKING:
    from mesh.launcher import Mesh

KILLED: Final = 130
"""Exit status after a second Ctrl-C, as a shell gives it."""


@reported
def up(
    port: Annotated[
        int, typer.Option("--port", "-p", help="Port of the edge; all others count from it.")
    ] = DEFAULT_PORT,
    data: Data = state.DEFAULT,
    replicas: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="How many replicas a process has; repeatable."),
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            envvar="VISIONMESH_STORE_URL",
            metavar="URL",
            help="Object store: s3://, gs://, az:// or file://. By default a folder below --data.",
        ),
    ] = "",
    host: Annotated[
        str,
        typer.Option(
            envvar="VISIONMESH_EDGE_HOST",
            metavar="ADDRESS",
            help="Where the edge listens. Beyond this machine only with keys or JWTs.",
        ),
    ] = "127.0.0.1",
    config: Config = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="VISIONMESH_CACHE_DIR",
            metavar="DIR",
            help="Envoy's cached answers. By default in memory (/dev/shm), else below --data.",
        ),
    ] = None,
    otlp: Annotated[
        str,
        typer.Option(
            envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
            metavar="URL",
            help="A collector that takes traces: OTLP over gRPC, as in http://127.0.0.1:4317.",
        ),
    ] = "",
    jaeger: Annotated[
        Path | None,
        typer.Option(
            metavar="PROGRAM",
            help="The Jaeger that is started without --otlp. By default `jaeger` on the PATH.",
        ),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(envvar="VISIONMESH_LOG_LEVEL", help="Least severe lines to log."),
    ] = "info",
    json_logs: Annotated[
        bool | None,
        typer.Option(
            "--json-logs/--plain-logs",
            envvar="VISIONMESH_LOG_JSON",
            help="Log lines as JSON, or for people. By default JSON where there is no terminal.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the whole mesh, and keep it running until Ctrl-C.

    Prints `ready http://ADDRESS:PORT` on standard output once every service is healthy; the log
    goes to standard error and, per process, to DIR/logs. A second Ctrl-C stops without grace.
    """
    from mesh.jaeger import plan
    from mesh.launcher import Mesh
    from mesh.logs import Style
    from mesh.ports import address
    from mesh.programs import MeshOptions

    as_json = not sys.stderr.isatty() if json_logs is None else json_logs
    options = MeshOptions(
        port=port,
        data_dir=data,
        replicas=parse_replicas(replicas or []),
        store_url=store,
        log_level=log_level,
        log_json=as_json,
        host=address(host),
        config_file=config,
        cache_dir=cache,
        traces=plan(otlp, jaeger, os.environ),
    )
    style = Style(colour=_in_colour(), as_json=as_json)
    mesh = Mesh(options, stream=sys.stderr, style=style)
    try:
        killed = asyncio.run(_run(mesh))
    except (
        KeyboardInterrupt
    ):  # a second Ctrl-C when everything has stopped and only the loop is left
        killed = True
    raise typer.Exit(KILLED if killed else 0)


def parse_replicas(arguments: list[str]) -> dict[str, int]:
    """`nsfw=2` as a name and a number. Raises InvalidOption."""
    asked: dict[str, int] = {}
    for argument in arguments:
        name, _, count = argument.partition("=")
        if not name or not count.isascii() or not count.isdigit():
            raise InvalidOption(f"--replicas {argument}: must be NAME=N, as in nsfw=2")
        asked[name] = int(count)
    return asked


async def _run(mesh: Mesh) -> bool:
    """Run until asked to stop; whether it was asked twice. Raises StartFailed."""
    asked, killed = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            killed.set()
            mesh.kill()
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    async with mesh.running():
        if await _ready_before(mesh, asked):
            typer.echo(f"ready {mesh.edge_url}")
            await asked.wait()
    return killed.is_set()


async def _ready_before(mesh: Mesh, asked: asyncio.Event) -> bool:
    """Wait until the mesh is ready, or until asked to stop, whichever is first."""
    ready = asyncio.create_task(mesh.wait_ready())
    stop = asyncio.create_task(asked.wait())
    await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, stop):
        task.cancel()
    await asyncio.gather(ready, stop, return_exceptions=True)
    if asked.is_set():
        return False
    ready.result()
    return True


def _in_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
