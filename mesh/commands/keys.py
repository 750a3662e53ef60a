"""`visionmesh keys`: who may call a mesh. Changes hold within seconds, without a restart."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from mesh import state
from mesh.commands.options import Config, Data, reported

app = typer.Typer(help="Keys of the mesh's callers: create, list, revoke.", no_args_is_help=True)


@app.command()
@reported
def create(
    tenant: Annotated[
        str,
        typer.Option(metavar="TENANT", help="For whom: whose images and verdicts are to be seen."),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="A word to know the key by.")] = "",
    data: Data = state.DEFAULT,
    config: Config = None,
) -> None:
    """Make a key and print it: this once, as only its hash is kept.

    From the first key on, nobody gets into the mesh without one.
    """
    from mesh.admission import Admission

    admission = Admission.of(state.DataDir(data), config)
    first = not admission.keys.exists()
    with admission.changing() as keys:
        key, text = keys.create(tenant, name)
    typer.echo(text)
    typer.echo(f"key {key.id} of tenant {key.tenant}; it is kept nowhere else", err=True)
    if first:
        typer.echo("from now on every caller of this mesh needs a key", err=True)


@app.command("list")
@reported
def list_keys(
    data: Data = state.DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """List all keys, the oldest first, revoked ones too; the keys themselves are nowhere."""
    from dataclasses import asdict

    from mesh.keys import KeyFile

    keys = KeyFile(state.DataDir(data).keys_file).read()
    if as_json:
        shown = [{k: v for k, v in asdict(key).items() if k != "sha256"} for key in keys]
        typer.echo(json.dumps(shown, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "tenant", "name", "created", "revoked"):
        table.add_column(title, overflow="fold")
    for key in keys:
        row = (key.id, key.tenant, key.name, key.created_at, key.revoked_at or "-")
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


@app.command()
@reported
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="A key's id, or the whole key.")],
    data: Data = state.DEFAULT,
    config: Config = None,
) -> None:
    """Let nobody in with a key any more, within seconds."""
    from mesh.admission import Admission

    with Admission.of(state.DataDir(data), config).changing() as keys:
        key = keys.revoke(key_id)
    typer.echo(f"key {key.id} of tenant {key.tenant} is revoked since {key.revoked_at}")
