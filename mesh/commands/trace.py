"""`visionmesh trace`: what happened in one request, where, and for how long."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mesh.commands.options import reported

if TYPE_CHECKING:
    from rich.text import Text

    from mesh.traces import Span, Trace

BAR: Final = 32
"""Characters that stand for the whole time of the trace."""


@reported
def trace(
    trace_id: Annotated[
        str, typer.Argument(metavar="ID", help="As the header x-trace-id has it, or a traceparent.")
    ],
    jaeger: Annotated[
        str, typer.Option(envvar="VISIONMESH_JAEGER_URL", metavar="URL", help="Where Jaeger is.")
    ] = "http://127.0.0.1:16686",
) -> None:
    """Show one request as a waterfall: each span with its process, when it ran, how long."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mesh.traces import fetch, trace_id_of

    found = fetch(jaeger, trace_id_of(trace_id))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("process", no_wrap=True)
    table.add_column("span", no_wrap=True)
    table.add_column(f"0 … {found.duration_ms:.1f} ms", no_wrap=True, width=BAR)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("")
    count = 0
    for depth, span in found.walk():
        count += 1
        table.add_row(
            span.service,
            Text("  " * depth + span.name, style="bold red" if span.error else ""),
            _bar(found, span),
            f"{span.duration_ms:.2f}",
            _said(span),
        )
    # Piped into a file or another program, nothing is cut off.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(Text(f"{found.trace_id}: {count} spans"))
    console.print(table)


def _bar(trace: Trace, span: Span) -> Text:
    from rich.text import Text

    scale = BAR / trace.duration_ms if trace.duration_ms else 0.0
    first = min(BAR - 1, int(span.start_ms * scale))
    length = max(1, min(BAR - first, round(span.duration_ms * scale)))
    style = "red" if span.error else "cyan"
    return Text(" " * first).append("█" * length, style=style)


def _said(span: Span) -> Text:
    from rich.text import Text

    return Text(" ".join([span.error, *span.notes]).strip(), style="red" if span.error else "dim")
