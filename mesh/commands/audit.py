"""`visionmesh audit`: the verdicts that were given, as lines, and given again."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mesh import state
from mesh.commands.options import Config, Data, reported
from mesh.errors import InvalidOption, MeshError, NotRunning

if TYPE_CHECKING:
    from services.audit.database import Database
    from services.audit.entry import Entry
    from services.audit.replay import Result

DIFFERENT: Final = 1
SOME_FAILED: Final = 2

app = typer.Typer(
    help="The verdicts that were given: export them, give them again.", no_args_is_help=True
)

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="VISIONMESH_AUDIT_URL",
        metavar="URL",
        help="The audit database. By default the configuration's, or the data directory's.",
    ),
]
Tenant = Annotated[str, typer.Option(metavar="TENANT", help="Only this tenant's.")]
Since = Annotated[str, typer.Option(metavar="TIME", help="Only from this time on, in ISO 8601.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Only before this time, in ISO 8601.")]


@app.command()
@reported
def export(
    data: Data = state.DEFAULT,
    config: Config = None,
    url: Url = "",
    tenant: Tenant = "",
    since: Since = "",
    until: Until = "",
) -> None:
    """Print every recorded verdict, oldest first, one JSON object a line.

    Times without a zone are UTC. What waits in a spool is not in the database, and not here.
    """
    from services.audit.log import to_proto
    from services.rest import views
    from visionmesh.moderation.v1.moderation_pb2 import ListAuditEntriesResponse

    for entry in _entries(_database(data, config, url), tenant, since, until):
        [shown] = views.audit_page(ListAuditEntriesResponse(entries=[to_proto(entry)]))["entries"]
        sys.stdout.write(json.dumps({"tenant": entry.tenant, **shown}) + "\n")


@app.command()
@reported
def replay(
    data: Data = state.DEFAULT,
    config: Config = None,
    url: Url = "",
    tenant: Tenant = "",
    since: Since = "",
    until: Until = "",
) -> None:
    """Ask the running mesh for every recorded verdict again, and say which ones are not the same.

    Each by the release that gave it, from stored results: no model runs, and nothing is recorded.

    Exits with 0 when all are the same or their images are deleted, 1 when one is different, 2 when
    the mesh could not say, 3 when none runs.
    """
    from services.audit.replay import Result

    entries = _entries(_database(data, config, url), tenant, since, until)
    counts = asyncio.run(_replay(data, entries))
    parts = [f"{counts[result]} {result.value}" for result in Result if counts[result]]
    typer.echo(f"{counts.total()} verdicts: {', '.join(parts) or 'nothing to compare'}")
    if counts[Result.DIFFERENT]:
        raise typer.Exit(DIFFERENT)
    if counts[Result.FAILED]:
        raise typer.Exit(SOME_FAILED)


async def _replay(data: Path, entries: Iterator[Entry]) -> Counter[Result]:
    from mesh.ports import HOST
    from services.audit.replay import Result
    from services.audit.replay import replay as replayed
    from services.catalog import MESH_OFFSET
    from services.client.mesh import MeshClient

    directory = state.DataDir(data)
    if (run := directory.running()) is None:
        raise NotRunning(
            f"no mesh runs on {directory.root}: start one with `visionmesh up`, or name another "
            "with --data"
        )
    counts: Counter[Result] = Counter()
    address = f"{HOST}:{run.port + MESH_OFFSET}"
    async with MeshClient(address, token=directory.token()) as client:
        async for each in replayed(client, entries):
            counts[each.result] += 1
            if each.result is not Result.SAME:
                entry = each.entry
                typer.echo(f"{entry.id} {entry.digest} {each.result.value}: {each.said}")
    return counts


def _database(data: Path, config: Path | None, url: str) -> Database:
    """The database that the mesh records in. Raises InvalidOption, MeshError."""
    from mesh.config import find, load
    from services.audit.database import Database

    file = data.absolute() / "audit.db"
    if not (url := url or load(find(config, data)).audit.url) and not file.is_file():
        raise MeshError(f"--data {data}: there is no audit log, {file}")
    return Database(url or file)


def _entries(database: Database, tenant: str, since: str, until: str) -> Iterator[Entry]:
    """The entries that are asked for. Raises InvalidOption, MeshError."""
    from services.audit.database import cause
    from services.errors import AuditUnavailable

    bounds = [_id("--since", since), _id("--until", until)]
    try:
        yield from database.stream(tenant, *bounds)
    except AuditUnavailable as error:
        raise MeshError(f"the audit log is not available: {cause(error)}") from None
    finally:
        database.close()


def _id(option: str, text: str) -> str:
    """The first id of a time; empty for an empty one."""
    from services.audit.entry import first_id

    if not text:
        return ""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOption(
            f"{option} {text}: must be a time in ISO 8601, as in 2026-01-31T12:00:00Z"
        ) from None
    return first_id(at if at.tzinfo else at.replace(tzinfo=UTC))
