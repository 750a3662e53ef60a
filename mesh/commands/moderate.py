"""`visionmesh moderate`: verdicts on files, folders and standard input."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mesh.commands.options import reported
from mesh.errors import InvalidOption, NotRunning
from services.catalog import DEFAULT_PORT, MESH_OFFSET
from services.errors import VisionmeshError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesh.moderation import Row

NOT_ALL_APPROVED: Final = 1
SOME_FAILED: Final = 2

STYLES: Final = {
    "APPROVED": "green",
    "REJECTED": "bold red",
    "UNDETERMINED": "yellow",
    "FAILED": "magenta",
}


@reported
def moderate(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Files, directories, or - for stdin.")
    ],
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="Policy to judge by. By default `default`.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, and nothing else.")
    ] = False,
    mesh: Annotated[
        str,
        typer.Option(
            envvar="VISIONMESH_MESH_ADDRESS", metavar="HOST:PORT", help="The mesh's gRPC listener."
        ),
    ] = f"127.0.0.1:{DEFAULT_PORT + MESH_OFFSET}",
    concurrency: Annotated[
        int, typer.Option(min=1, max=128, help="Images on their way at the same time.")
    ] = 8,
    key: Annotated[
        str,
        typer.Option(
            envvar="VISIONMESH_API_KEY",
            metavar="KEY",
            help="Your key, where the mesh needs one.",
            show_envvar=True,
        ),
    ] = "",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into directories of directories.")
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Leave a copy of each image there, with what was seen drawn on it."
        ),
    ] = None,
) -> None:
    """Upload images and print a verdict on each.

    Directories are searched for image files; hidden ones are skipped. A file that cannot be read or
    is no image gets a line that says so, and the rest go on.

    Exits with 0 when all are approved, 1 when one is rejected or undetermined, 2 when one got no
    verdict, 3 when no mesh answers.
    """
    counts = asyncio.run(
        _moderate(paths, policy, as_json, mesh, concurrency, key, recursive, annotate)
    )
    if counts["FAILED"]:
        raise typer.Exit(SOME_FAILED)
    if counts["REJECTED"] or counts["UNDETERMINED"]:
        raise typer.Exit(NOT_ALL_APPROVED)


async def _moderate(
    paths: list[str],
    policy: str,
    as_json: bool,
    mesh: str,
    concurrency: int,
    key: str,
    recursive: bool,
    annotate: Path | None,
) -> Counter[str]:
    """How many images got which decision; what became of each has been printed."""
    from mesh.moderation import as_json as row_as_json
    from mesh.moderation import moderate as moderated
    from mesh.sources import sources
    from services.client.mesh import MeshClient

    if not all("!" <= each <= "~" for each in key):
        raise InvalidOption("--key: has characters that no key has")
    await _check_mesh(mesh)
    started = time.perf_counter()
    # Listed before the first upload: the progress bar shows how many there are.
    found = list(sources(paths, recursive=recursive))
    counts: Counter[str] = Counter()
    rows: list[Row] = []
    async with MeshClient(mesh, api_key=key) as client:
        leave = None
        if annotate:
            from mesh.annotations.annotator import Annotator

            leave = Annotator(client, annotate, (source.label for source in found)).annotate
        finished = moderated(client, found, policy, concurrency=concurrency, annotate=leave)
        with _progress(len(found), shown=not as_json) as advance:
            async with aclosing(finished):
                async for row in finished:
                    advance()
                    counts[row.decision] += 1
                    if as_json:
                        typer.echo(json.dumps(row_as_json(row)))
                    else:
                        rows.append(row)
    if not as_json:
        _print_table(rows)
        typer.echo(_summary(counts, time.perf_counter() - started))
        if annotate:
            left = sum(row.annotated is not None for row in rows)
            typer.echo(f"{left} annotated in {_printable(str(annotate))}")
    return counts


async def _check_mesh(address: str) -> None:
    """Raise NotRunning when nobody listens at an address, InvalidOption when it is none."""
    from mesh.health import TcpProbe, Unhealthy

    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise InvalidOption(f"--mesh {address}: must be HOST:PORT, as in 127.0.0.1:8081")
    try:
        await TcpProbe(int(port), host.strip("[]")).check(timeout_s=5.0)
    except Unhealthy:
        raise NotRunning(
            f"no mesh answers at {address}: start one with `visionmesh up`, or name another with "
            "--mesh"
        ) from None


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error while it is a terminal; what is yielded moves it by one."""
    if not shown or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _print_table(rows: Iterable[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("reasons")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(_printable(row.file)),
            Text(row.decision.lower(), style=STYLES[row.decision]),
            Text(_reasons(row)),
            "" if row.score is None else f"{row.score:.3f}",
            f"{row.duration_ms:.0f}",
        )
    # Piped into a file or another program, lines are not folded to a terminal's width.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def _reasons(row: Row) -> str:
    """Why an image is not approved: codes of rules, models that are missing, or an error."""
    if isinstance(row.result, VisionmeshError):
        return _printable(f"{row.result.code}: {row.result.message}")
    verdict = row.result.verdict
    said = [reason.code for reason in verdict.reasons]
    if verdict.missing:
        said.append(f"missing: {', '.join(verdict.missing)}")
    return ", ".join(said)


def _summary(counts: Counter[str], duration_s: float) -> str:
    total = counts.total()
    parts = [f"{counts[word]} {word.lower()}" for word in STYLES if counts[word]]
    images = "image" if total == 1 else "images"
    return f"{total} {images} in {duration_s:.1f} s: {', '.join(parts)}"


def _printable(text: str) -> str:
    """Without what a terminal would take for a command: a file may be called anything."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
