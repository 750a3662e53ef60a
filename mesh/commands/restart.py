"""`visionmesh restart`: the processes of a running mesh, exchanged under load."""

from __future__ import annotations

from typing import Annotated

import typer

from mesh import state
from mesh.commands.options import Data, reported


@reported
def restart(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME…]", help="A process (nsfw), or one replica of it (nsfw.1)."),
    ] = None,
    data: Data = state.DEFAULT,
) -> None:
    """Restart the processes of a running mesh one after the other, without losing a request.

    Of each replica a new one is started, and takes over when it is ready; then the old one finishes
    what it has begun. By default all of them, Envoy excepted. Where a new one cannot be started the
    old one goes on, and the rest is left as it is. Ctrl-C ends it after the one that is under way.

    Exits with 0 when all were restarted, 1 when one was not, 3 when no mesh runs.
    """
    from mesh.control import asked_to_restart
    from mesh.errors import NotRunning
    from mesh.state import DataDir

    directory = DataDir(data)
    if directory.running() is None:
        raise NotRunning(f"no mesh runs on {directory.root}: name another with --data")
    count = 0
    for done in asked_to_restart(directory.control, names or ()):
        count += 1
        pids = f"{done['old_pid'] or '-'} -> {done['new_pid']}"
        typer.echo(f"{done['title']:<14}{pids:<20}{done['took_s']:.1f} s")
    typer.echo(f"{count} restarted")
