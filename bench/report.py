"""Figures as a person reads them."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

console = Console(width=None if sys.stdout.isatty() else 120)
"""As wide as the terminal; into a file or a pipe wide enough for a column a process."""


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100), by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    """The machine in words: figures mean little without it."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, first column to the left, the others to the right."""
    drawn = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)
