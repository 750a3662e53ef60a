"""`visionmesh up`, the real thing: Envoy and every process of the catalog."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from mesh.launcher import running_mesh
from mesh.ports import free_block
from mesh.state import DataDir
from services.catalog import BY_NAME, PROCESSES
from tests.cli.running import COMMAND, Up, command, jpeg, up
from tests.cli.toys import PATIENCE_S, alive, until


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """One mesh for all tests that do not end it, with two replicas of nsfw."""
    with up(tmp_path_factory.mktemp("up"), "--replicas", "nsfw=2") as mesh:
        yield mesh


def test_starts_every_process_of_the_catalog(mesh):
    """Once ready, every replica of every process and Envoy run as children of the launcher."""
    expected = {f"{process.name}.0" for process in PROCESSES} | {"nsfw.1", "envoy.0"}
    assert set(mesh.running()) == expected
    assert sorted(each.pid for each in mesh.running().values()) == sorted(mesh.pids)


def test_a_photo_in_a_verdict_out(mesh):
    """An image that goes in through the edge comes back as a verdict."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{mesh.port}/v1/moderations",
        data=jpeg(),
        headers={"Content-Type": "image/jpeg"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        verdict = json.load(response)
    assert "APPROVED" in json.dumps(verdict)


def test_everything_is_below_the_data_directory(mesh):
    """What a mesh writes is in its data directory, and nowhere else in the current one."""
    assert {path.name for path in mesh.data.root.parent.iterdir()} == {"data", "err"}
    assert {path.name for path in mesh.data.root.iterdir()} >= {
        *("access", "endpoints", "logs", "envoy.yaml", "run.json", "lock", "token")
    }
    assert mesh.data.root.stat().st_mode & 0o077 == 0


def test_listens_on_loopback_only(mesh):
    """No process of the mesh accepts connections from other machines."""
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for pid in mesh.pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_status_of_a_real_mesh(mesh):
    """`status` finds every process healthy, and names the version of the model."""
    found = command("status", "--json", "--data", str(mesh.data.root))
    document = json.loads(found.stdout)
    assert document["healthy"], document
    versions = {row["version"] for row in document["processes"] if row["process"] == "nsfw"}
    assert len(versions) == 1
    assert re.fullmatch("[0-9a-f]{8,64}", versions.pop())
    assert found.returncode == 0


def test_moderate_over_a_real_mesh(mesh, tmp_path):
    """`moderate` gives each image its verdict, and broken ones an error, through real gRPC."""
    for name, colour in (("a.jpg", "red"), ("b.jpg", "blue")):
        (tmp_path / name).write_bytes(jpeg(colour))
    (tmp_path / "c.jpg").write_bytes(jpeg()[:200])
    found = command("moderate", str(tmp_path), "--json", "--mesh", f"127.0.0.1:{mesh.port + 1}")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [row.get("decision") for row in rows] == ["APPROVED", "APPROVED", None]
    assert rows[2]["error"]["code"] == "CORRUPT_IMAGE"
    assert found.returncode == 2


def test_a_second_mesh_on_the_same_directory_is_refused(mesh):
    """A data directory has one mesh: another is refused by pid, and the first goes on."""
    found = command("up", "--port", str(free_block()), "--data", str(mesh.data.root))
    assert found.stderr.startswith(
        f"visionmesh: another mesh (pid {mesh.process.pid}, port {mesh.port}) runs on "
    )
    assert (found.stdout, found.returncode) == ("", 1)
    assert mesh.data.running() is not None


def test_a_port_in_use_is_refused(mesh, tmp_path):
    """Ports that another mesh has are refused by number, process and option."""
    found = command("up", "--port", str(mesh.port), "--data", str(tmp_path))
    assert found.stderr == (
        f"visionmesh: port {mesh.port} is in use, and envoy's edge listener wants it: choose "
        f"another block of ports with --port (now {mesh.port})\n"
    )
    assert (found.stdout, found.returncode) == ("", 1)


async def test_what_dies_leaves_the_endpoints_and_comes_back(mesh):
    """A replica that dies is not listed for Envoy, is started again, and is listed again."""
    file = mesh.data.endpoints / "nsfw.json"
    listed = f'"port_value": {BY_NAME["nsfw"].port(mesh.port, 1)}'
    before = mesh.running()["nsfw.1"]
    assert listed in file.read_text()
    os.kill(mesh.pid("nsfw.1"), signal.SIGKILL)
    await until(lambda: listed not in file.read_text(), "nsfw.1 out of the endpoints")
    await until(lambda: listed in file.read_text(), "nsfw.1 in the endpoints again")
    after = mesh.running()["nsfw.1"]
    assert after.pid != before.pid
    assert after.restarts == before.restarts + 1
    mesh.pids.append(mesh.pid("nsfw.1"))


async def test_two_meshes_side_by_side(mesh, tmp_path):
    """A second mesh beside the first, started by a program: its own ports, directory and store."""
    async with running_mesh(tmp_path / "other") as other:
        assert other.edge_url != f"http://127.0.0.1:{mesh.port}"
        assert not set(other.pids.values()) & set(mesh.pids)
        found = await asyncio.to_thread(command, "status", "--data", str(tmp_path / "other"))
        assert found.returncode == 0
        pids = other.pids
        os.kill(other.pid("nsfw"), signal.SIGKILL)
        assert await other.wait_restarted("nsfw", pids["nsfw", 0]) == other.pid("nsfw")
        assert other.restarts("nsfw") == 1
        pids |= {("nsfw", 1): other.pid("nsfw")}
    assert not any(map(alive, pids.values()))
    assert mesh.data.running() is not None


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """Ctrl-C stops every process, a hanging one too, frees the directory, and is no failure."""
    with up(tmp_path, "--json-logs") as mesh:
        os.kill(mesh.pid("moderation.0"), signal.SIGSTOP)
        mesh.process.send_signal(signal.SIGINT)
        assert mesh.process.wait(PATIENCE_S) == 0
        assert not any(map(alive, mesh.pids))
        assert mesh.data.running() is None
        assert not mesh.data.run_file.exists()
    lines = [json.loads(line) for line in (tmp_path / "err").read_text().splitlines()]
    assert {line["process"] for line in lines} >= {process.name for process in PROCESSES}
    assert any(line["event"].startswith("moderation did not stop within") for line in lines)


async def test_a_killed_launcher_leaves_nothing_behind(tmp_path):
    """After `kill -9` of the launcher no process is left, and its directory can be used again."""
    with up(tmp_path) as mesh:
        mesh.process.kill()
        mesh.process.wait()
        await until(lambda: not any(map(alive, mesh.pids)), "the end of every process")
        with mesh.data.held():
            pass


@contextmanager
def starting(directory: Path, command: Sequence[str] = COMMAND) -> Iterator[Up]:
    """A mesh of which the first process has just been started."""
    port, data = free_block(), DataDir(directory / "data")
    with subprocess.Popen(
        [*command, "up", "--port", str(port), "--data", str(data.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while (run := data.read_run()) is None or not all(each.pid for each in run.processes):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield Up(process, port, data, [each.pid or 0 for each in run.processes])
        finally:
            process.kill()


def test_ctrl_c_while_starting(tmp_path):
    """Ctrl-C before the mesh is ready stops what has been started, without the ready line."""
    with starting(tmp_path) as mesh:
        mesh.process.send_signal(signal.SIGINT)
        out, _ = mesh.process.communicate(timeout=60)
    assert (out, mesh.process.returncode) == ("", 0)
    assert not any(map(alive, mesh.pids))
    assert mesh.data.running() is None


async def test_a_second_ctrl_c_does_not_wait(tmp_path):
    """A second Ctrl-C kills what has not stopped yet, at once, and the exit status says so."""
    # With a grace that a busy machine cannot use up: what hangs is not killed for any other reason.
    patient = "import mesh.launcher; mesh.launcher.GRACE_S = 600.0; from mesh.cli import app; app()"
    with starting(tmp_path, (sys.executable, "-c", patient)) as mesh:
        rest = mesh.pid("rest.0")
        os.kill(rest, signal.SIGSTOP)  # the first to be stopped holds everything up
        mesh.process.send_signal(signal.SIGINT)
        await until(lambda: stopping(rest), "a signal to the first process")
        mesh.process.send_signal(signal.SIGINT)
        assert mesh.process.wait(PATIENCE_S) == 130
    assert not any(map(alive, mesh.pids))


def stopping(pid: int) -> bool:
    """Whether a signal to end waits for a stopped process, or it is gone already."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    [pending] = re.findall(r"^ShdPnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    asked = (1 << (signal.SIGTERM - 1)) | (1 << (signal.SIGINT - 1))
    return bool(int(pending, 16) & asked)


def test_a_weight_file_that_is_missing_stops_the_start(tmp_path):
    """A process that cannot start fails `up` in one last line that names it, and stops the rest."""
    found = subprocess.run(
        [*COMMAND, "up", "--port", str(free_block()), "--data", str(tmp_path / "data")],
        env={**os.environ, "VISIONMESH_MODELS_DIR": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.stdout == ""
    assert "visionmesh models fetch" in found.stderr
    said = found.stderr.splitlines()[-1]
    assert re.match(r"visionmesh: (nsfw|detection|ocr|logo) cannot be started: it exited", said)
    assert found.returncode == 1
    assert not [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("VISIONMESH_DATA_DIR") == str(tmp_path / "data")
    ]


async def test_one_replica_that_differs(tmp_path):
    """A replica with variables of its own serves another version, and `status` shows both."""
    other = {("nsfw", 1): {"VISIONMESH_DECODE_MIN_SIDE": "433"}}
    async with running_mesh(tmp_path, replicas={"nsfw": 2}, replica_env=other):
        found = await asyncio.to_thread(command, "status", "--json", "--data", str(tmp_path))
    rows = [row for row in json.loads(found.stdout)["processes"] if row["process"] == "nsfw"]
    assert len({row["version"] for row in rows}) == 2
