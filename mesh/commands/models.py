"""`visionmesh models`: the registered weight files."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.commands.options import FAILED, reported

if TYPE_CHECKING:
    from models.registry import ModelFile

app = typer.Typer(
    help="The weight files: list, fetch and verify them, read their cards.", no_args_is_help=True
)

WORDS = {"verified": "is there", "downloading": "downloading", "fetched": "fetched and verified"}


@app.command("list")
@reported
def list_models() -> None:
    """List every registered weight file, its licence and source."""
    from rich.console import Console
    from rich.table import Table

    from models.registry import load_registry

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "precision", "size", "license", "source", "description"):
        table.add_column(name, justify="right" if name == "size" else "left")
    for entry in load_registry():
        source = f"{entry.package.package} {entry.package.version}"
        table.add_row(
            entry.name, entry.precision, _size(entry), entry.license, source, entry.description
        )
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)


@app.command()
@reported
def verify() -> None:
    """Hash every weight file and compare; exits with 1 when one is missing or not the registered.

    Needs no network.
    """
    from models import preparation
    from models.registry import load_registry
    from models.registry import verify as verified

    wrong = 0
    for entry in load_registry():
        found = verified(entry)
        wrong += not found.ok
        typer.echo(f"{entry.name}: {found.path} {found.problem or 'is the registered file'}")
        if entry.preparation:
            problem = preparation.problem(entry)
            wrong += bool(problem)
            typer.echo(f"{entry.name}: {preparation.path(entry)} {problem or 'is whole'}")
    if wrong:
        raise typer.Exit(FAILED)


@app.command()
@reported
def card(name: Annotated[str, typer.Argument(help="A weight file's name.")]) -> None:
    """Print a model card: what it can do, what it cannot, and its licence.

    Formatted on a terminal, as the Markdown it is elsewhere.
    """
    from models.registry import card as read_card

    text = read_card(name)
    if not sys.stdout.isatty():
        typer.echo(text, nl=not text.endswith("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


@app.command()
@reported
def fetch() -> None:
    """Bring every weight file that is not there yet, verify it, and prepare what needs it.

    What is there and right is left alone and costs no network.
    """
    from models import preparation
    from models.registry import fetch as fetched
    from models.registry import load_registry

    entries = load_registry()
    fetched(entries, lambda entry, word: typer.echo(f"{entry.name}: {WORDS[word]}"))
    for entry in entries:
        begins = partial(typer.echo, f"{entry.name}: preparing, which takes a minute")
        if preparation.prepare(entry, begins):
            typer.echo(f"{entry.name}: prepared")


def _size(entry: ModelFile) -> str:
    return f"{entry.size / 1e6:.1f} MB"
