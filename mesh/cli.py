"""The `visionmesh` command. Each command loads what it needs when it runs: help is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from mesh.commands import audit, keys, models, moderate, restart, status, trace, up

app = typer.Typer(
    name="visionmesh",
    help="Vision models as one mesh: start it, look at it, and ask it about images.",
    no_args_is_help=True,
    add_completion=False,
    # Help through rich would take longer to load than everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("status")(status.status)
app.command("restart")(restart.restart)
app.command("moderate")(moderate.moderate)
app.command("trace")(trace.trace)
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")


def _print_version(asked: bool) -> None:
    if asked:
        from mesh.version import version

        typer.echo(f"visionmesh {version()}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Vision models as one mesh: start it, look at it, and ask it about images."""
