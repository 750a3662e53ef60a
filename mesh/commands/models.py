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
    """List every registered weight file, its licence and source, and whether it is there."""
    from rich.console import Console
    from rich.table import Table

    from models.registry import load_registry

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "precision", "size", "license", "file", "source", "description"):
        table.add_column(name, justify="right" if name == "size" else "left")
    for entry in load_registry():
        table.add_row(
            entry.name,
            entry.precision,
            f"{entry.size / 1e6:.1f} MB",
            entry.license,
            _state(entry),
            entry.origin,
            entry.description,
        )
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


@app.command()
@reported
def verify() -> None:
    """Hash every weight file and compare; exits with 1 when one is missing or not the registered.

    An optional file may be missing. Needs no network.
    """
    from models import preparation
    from models.registry import load_registry
    from models.registry import verify as verified

    wrong = 0
    for entry in load_registry():
        found = verified(entry)
        problem = found.problem
        if found.is_missing and entry.optional:
            problem = "is optional and not there"
        else:
            wrong += not found.ok
        typer.echo(f"{entry.name}: {found.path} {problem or 'is the registered file'}")
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
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="What to bring. Without names: all that is not optional."),
    ] = None,
) -> None:
    """Bring every weight file that is not there yet, verify it, and prepare what needs it.

    Optional ones by their name.

    What is there and right is left alone and costs no network.
    """
    from models import preparation
    from models.registry import fetch as fetched
    from models.registry import find, load_registry

    if names:
        entries = [find(name) for name in names]
    else:
        entries = [entry for entry in load_registry() if not entry.optional]
    fetched(entries, lambda entry, word: typer.echo(f"{entry.name}: {WORDS[word]}"))
    for entry in entries:
        begins = partial(typer.echo, f"{entry.name}: preparing, which takes a minute")
        if preparation.prepare(entry, begins):
            typer.echo(f"{entry.name}: prepared")


@app.command()
@reported
def pin(
    url: Annotated[str, typer.Argument(help="hf://<repository>@<commit, branch or tag>/<file>")],
    name: Annotated[str, typer.Option(help="What the file will be called.")],
    like: Annotated[
        str, typer.Option(help="A registered file that is run in the same way, as dfine-s.")
    ],
    license: Annotated[
        str, typer.Option(help="The weights' SPDX identifier: you have looked it up.")
    ],
) -> None:
    """Download a file of a model hub once, and print what a registry must say of it.

    Write that into the file that VISIONMESH_MODELS_REGISTRY names.
    """
    from models.pinning import pin as pinned
    from models.pinning import stanza

    entry = pinned(url, name=name, like=like, license=license)
    typer.echo(stanza(entry), nl=False)


def _state(entry: ModelFile) -> str:
    from models.registry import models_dir

    if (models_dir() / entry.filename).is_file():
        return "there"
    return "optional, not there" if entry.optional else "missing"
