"""`visionmesh status` against fakes on a mesh's ports."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from typer.testing import CliRunner

from mesh.cli import app
from mesh.ports import free_block
from mesh.state import DataDir, Run, RunningProcess
from services.catalog import ADMIN_OFFSET, MESH_OFFSET, PROCESSES
from services.serving.diagnostics import Diagnostics
from services.serving.server import grpc_server
from tests.cli.fakes import serving
from tests.support.mesh import FakeNsfw, adding

PROCESSES_OF_A_MESH = [*(process.name for process in PROCESSES), "envoy"]


class Healthy(http.server.BaseHTTPRequestHandler):
    """Healthy at the paths of Envoy and of processes that speak HTTP."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/healthz", "/ready") else 404)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def http_server(port: int) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def mesh_at(
    port: int, without: str = "", diagnostics: Diagnostics | None = None, token: str = ""
) -> Iterator[None]:
    """Healthy fakes on every port of a mesh, but for one process; all count and ail alike.

    With a `token` each of them believes who shows it, and its mesh listener believes nobody.
    """
    nsfw = adding(FakeNsfw())
    servers = [
        grpc_server(
            nsfw,
            process.grpc_service,
            port=process.port(port),
            diagnostics=diagnostics,
            token=token,
        )
        for process in PROCESSES
        if process.grpc_service and process.name != without
    ]
    with ExitStack() as stack:
        envoy = grpc_server(nsfw, port=port + MESH_OFFSET, token=token and "another")
        stack.enter_context(serving(envoy, *servers))
        for process in PROCESSES:
            if not process.grpc_service:
                stack.enter_context(http_server(process.port(port)))
        stack.enter_context(http_server(port + ADMIN_OFFSET))
        yield


@contextmanager
def launched(data: DataDir, port: int, states: dict[str, str] | None = None) -> Iterator[None]:
    """What a launcher says of the mesh at `port`: all started a minute ago, restarted twice."""
    processes = [(process.name, process.port(port)) for process in PROCESSES] + [("envoy", port)]
    running = tuple(
        RunningProcess(
            name=name,
            replica=0,
            port=at,
            pid=os.getpid(),
            state=(states or {}).get(name, "healthy"),
            reason="exited with status 3" if states else "",
            started_at=time.time() - 65,
            restarts=2,
        )
        for name, at in processes
    )
    with data.held():
        data.write_run(Run(os.getpid(), port, "1.2.3+gabc", time.time() - 65, running))
        yield


@pytest.fixture
def data(tmp_path):
    return DataDir(tmp_path)


def test_every_process_has_a_row(data):
    """A healthy mesh: pid, version, health, latency, uptime and restarts of every process."""
    port = free_block()
    with mesh_at(port), launched(data, port):
        result = CliRunner().invoke(app, ["status", "--data", str(data.root)])
    header, *rows = result.stdout.splitlines()
    assert header.split() == [
        *("process", "replica", "port", "pid", "version"),
        *("health", "latency", "uptime", "restarts"),
    ]
    assert [row.split()[0] for row in rows] == PROCESSES_OF_A_MESH
    assert all(f" {os.getpid()} " in row and " healthy " in row for row in rows)
    assert all("1 min " in row for row in rows)
    assert all(row.rstrip().endswith(" 2") for row in rows)
    assert "1.2.3+gabc" in rows[0]
    assert FakeNsfw().version in rows[1]
    assert result.exit_code == 0


def test_json_is_one_object(data):
    """`--json` prints one object with the same facts, numbers as numbers."""
    port = free_block()
    with mesh_at(port), launched(data, port):
        result = CliRunner().invoke(app, ["status", "--json", "--data", str(data.root)])
    found = json.loads(result.stdout)
    assert (found["url"], found["healthy"]) == (f"http://127.0.0.1:{port}", True)
    nsfw = found["processes"][1]
    assert nsfw.pop("latency_ms") > 0
    assert nsfw.pop("uptime_s") >= 65
    assert nsfw == {
        "process": "nsfw",
        "replica": 0,
        "port": port + 20,
        "pid": os.getpid(),
        "version": FakeNsfw().version,
        "healthy": True,
        "health": "healthy",
        "restarts": 2,
        "conditions": [],
        "counters": {},
    }


def test_what_ails_a_process_is_said(data):
    """Conditions stand below the table; `--json` has them and the counters. All are healthy."""
    diagnostics = Diagnostics()
    diagnostics.watch("results.shared", lambda: "Redis does not answer")
    diagnostics.watch("audit", lambda: None)
    diagnostics.count("inferences", 3)
    port = free_block()
    with mesh_at(port, diagnostics=diagnostics), launched(data, port):
        table = CliRunner().invoke(app, ["status", "--data", str(data.root)])
        result = CliRunner().invoke(app, ["status", "--json", "--data", str(data.root)])
    assert "nsfw.0 results.shared: Redis does not answer" in table.stdout.splitlines()
    assert "rest.0" not in table.stdout  # speaks HTTP, and says nothing
    nsfw = json.loads(result.stdout)["processes"][1]
    assert nsfw["conditions"] == [
        {"component": "results.shared", "message": "Redis does not answer"}
    ]
    assert nsfw["counters"] == {"inferences": 3}
    assert (table.exit_code, result.exit_code) == (0, 0)


def test_the_version_is_each_replicas_own(data):
    """With the mesh's token each replica is asked itself, also where Envoy would ask for a key."""
    port = free_block()
    data.token_file.write_text("secret\n")
    with mesh_at(port, token="secret"), launched(data, port):
        result = CliRunner().invoke(app, ["status", "--json", "--data", str(data.root)])
    assert json.loads(result.stdout)["processes"][1]["version"] == FakeNsfw().version


@pytest.mark.parametrize(
    ("state", "health"),
    [
        ("healthy", "connection refused"),
        ("starting", "starting"),
        ("waiting", "exited with status 3, restarting"),
    ],
)
def test_what_is_not_healthy_is_said(data, state, health):
    """One process that does not answer: its row says why, the exit status that it is so."""
    port = free_block()
    with mesh_at(port, without="moderation"), launched(data, port, {"moderation": state}):
        result = CliRunner().invoke(app, ["status", "--json", "--data", str(data.root)])
    by_name = {row["process"]: row for row in json.loads(result.stdout)["processes"]}
    assert (by_name["moderation"]["healthy"], by_name["moderation"]["health"]) == (False, health)
    assert by_name["moderation"]["latency_ms"] is None
    assert all(row["healthy"] for name, row in by_name.items() if name != "moderation")
    assert result.exit_code == 1


def test_a_mesh_of_another_directory(data):
    """`--port` finds a mesh whose directory is not known; pids and uptime are not known either."""
    port = free_block()
    with mesh_at(port):
        result = CliRunner().invoke(
            app, ["status", "--json", "--port", str(port), "--data", str(data.root)]
        )
    rows = json.loads(result.stdout)["processes"]
    assert sorted(row["process"] for row in rows) == sorted(PROCESSES_OF_A_MESH)
    assert all(row["healthy"] and row["latency_ms"] > 0 for row in rows)
    assert all(row["pid"] is None and row["uptime_s"] is None for row in rows)
    assert result.exit_code == 0


def test_no_mesh_on_a_directory(data):
    """Without a mesh one line says how to start one, and the exit status that there is none."""
    result = CliRunner().invoke(app, ["status", "--data", str(data.root)])
    assert result.stderr == (
        f"visionmesh: no mesh runs on {data.root}: start one with `visionmesh up`, or name "
        "another with --data or --port\n"
    )
    assert (result.stdout, result.exit_code) == ("", 3)


def test_no_mesh_at_a_port(data):
    """A port where nobody listens is said to have no mesh."""
    port = free_block()
    result = CliRunner().invoke(app, ["status", "--port", str(port), "--data", str(data.root)])
    assert f"no mesh runs at port {port}" in result.stderr
    assert result.exit_code == 3


def test_a_launcher_that_is_gone_is_no_mesh(data):
    """What a launcher left behind when it was killed is not taken for a mesh."""
    port = free_block()
    with launched(data, port):
        stale = data.run_file.read_text()
    data.run_file.write_text(stale)
    assert CliRunner().invoke(app, ["status", "--data", str(data.root)]).exit_code == 3
