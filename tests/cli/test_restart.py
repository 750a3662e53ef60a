"""`visionmesh restart`, of a real mesh, from another terminal."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.control import asked_to_restart, listening
from mesh.errors import NotRunning
from mesh.restarts import Restarted
from services.catalog import BY_NAME
from tests.cli.running import COMMAND, Up, command, up
from tests.cli.toys import PATIENCE_S, alive, until


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("restart"), "--replicas", "nsfw=2") as mesh:
        yield mesh


def restart(mesh: Up, *names: str) -> tuple[int, str, str]:
    """Status, standard output and standard error; what runs from now on is the mesh's too."""
    found = command("restart", *names, "--data", str(mesh.data.root))
    mesh.pids += [each.pid for each in mesh.running().values() if each.pid]
    return found.returncode, found.stdout, found.stderr


def test_one_replica(mesh: Up):
    """One replica is exchanged, at the port that is free; the command says by which process."""
    before = mesh.running()
    status, out, err = restart(mesh, "nsfw.0")
    after = mesh.running()
    old, new = before["nsfw.0"], after["nsfw.0"]
    assert re.fullmatch(rf"nsfw\.0 +{old.pid} -> {new.pid} +\d+\.\d s\n1 restarted\n", out), (
        out,
        err,
    )
    assert (status, err) == (0, "")
    assert new.port == BY_NAME["nsfw"].port(mesh.port, 2)
    assert (new.state, new.restarts) == ("healthy", 1)
    assert old.pid
    assert not alive(old.pid)
    assert {name for name in after if after[name].pid != before[name].pid} == {"nsfw.0"}


def test_all_replicas_of_some_processes(mesh: Up):
    """By the name of a process all its replicas are exchanged, and whoever is asked comes first."""
    status, out, _ = restart(mesh, "rest", "nsfw")
    assert [line.split()[0] for line in out.splitlines()] == ["nsfw.0", "nsfw.1", "rest", "3"]
    assert status == 0


def test_status_finds_what_has_moved(mesh: Up):
    """After a restart `status` finds all replicas, by the data directory and by the port."""
    restart(mesh, "rest")
    for where in (["--data", str(mesh.data.root)], ["--port", str(mesh.port)]):
        found = command("status", "--json", *where)
        rows = json.loads(found.stdout)["processes"]
        assert found.returncode == 0, rows
        assert sorted(row["port"] for row in rows) == sorted(
            each.port for each in mesh.running().values()
        )


def test_what_cannot_start_leaves_the_old_one(mesh: Up):
    """A new replica that cannot serve changes nothing: the command says so and fails."""
    before = mesh.running()
    taken = {before["nsfw.0"].port, before["nsfw.1"].port}
    (free,) = {BY_NAME["nsfw"].port(mesh.port, n) for n in range(3)} - taken
    with socket.create_server(("127.0.0.1", free)):
        status, out, err = restart(mesh, "nsfw.1", "rest")
    assert out == ""
    assert err.startswith("visionmesh: nsfw.1 cannot be started: it exited with status 1")
    assert err.endswith("the old one goes on\n")
    assert status == 1
    assert mesh.running() == before


@pytest.mark.parametrize("name", ["envoy", "nsfw.2", "nsfv"])
def test_unknown_names_are_refused(mesh: Up, name: str):
    """What cannot be restarted is refused by name, before anything is done."""
    before = mesh.running()
    status, out, err = restart(mesh, "rest", name)
    assert err.startswith(f"visionmesh: {name}: ")
    assert "images, nsfw, detection" in err
    assert (status, out) == (2, "")
    assert mesh.running() == before


async def test_one_restart_at_a_time(mesh: Up):
    """While replicas are exchanged another restart is refused; Ctrl-C ends the first one after the
    replica that is under way."""
    before = mesh.running()

    def under_way() -> bool:
        run = mesh.data.running()
        return run is not None and len(run.processes) > len(before)

    def done() -> bool:
        status, _, err = restart(mesh, "gateway")
        assert (status, err) in ((0, ""), (1, "visionmesh: another restart is under way\n"))
        return status == 0

    arguments = [*COMMAND, "restart", "--data", str(mesh.data.root)]
    first = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await until(under_way, "a replica more")
    assert not done()
    first.send_signal(signal.SIGINT)
    await asyncio.wait_for(first.communicate(), PATIENCE_S)
    await until(done, "the end of the first restart")
    after = mesh.running()
    assert {n for n in after if after[n].pid != before[n].pid} == {"images.0", "gateway.0"}


def test_without_a_mesh(tmp_path: Path):
    """Where no mesh runs the command says so, with a status of its own."""
    found = command("restart", "--data", str(tmp_path))
    assert found.stderr.startswith(f"visionmesh: no mesh runs on {tmp_path}")
    assert found.returncode == 3


@pytest.mark.parametrize("depth", [1, 12])
async def test_a_mesh_that_stops_meanwhile(tmp_path: Path, depth: int):
    """A launcher that goes away says nothing, and whoever waits is told; however long the path."""
    folder = tmp_path.joinpath(*("a-folder" for _ in range(depth)))
    folder.mkdir(parents=True)
    asked = asyncio.Event()

    async def restart(names: object):
        assert names == ["nsfw"]
        yield Restarted("nsfw", 1, 2, 3.0)
        asked.set()
        await asyncio.Event().wait()

    said: list[object] = []

    def ask() -> None:
        said.extend(each["title"] for each in asked_to_restart(folder / "control", ["nsfw"]))

    async with listening(folder / "control", restart):
        waiting = asyncio.create_task(asyncio.to_thread(ask))
        await asked.wait()
    with pytest.raises(NotRunning, match="has stopped meanwhile"):
        await waiting
    assert said == ["nsfw"]
