"""Where the traces of a mesh go: a collector, a Jaeger that is found or named, or nowhere."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from mesh.errors import InvalidOption
from mesh.jaeger import HOW, plan
from mesh.launcher import Mesh
from mesh.ports import free_block
from mesh.programs import MeshOptions
from tests.cli.running import command

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

TOY = """#!{python}
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
SimpleHTTPRequestHandler.log_message = lambda *_: None
ThreadingHTTPServer(("127.0.0.1", {port}), SimpleHTTPRequestHandler).serve_forever()
"""


def program(folder: Path, port: int = 0) -> Path:
    """A program that answers as Jaeger's pages do."""
    path = folder / "jaeger"
    path.write_text(TOY.format(python=sys.executable, port=port))
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("nothing_found")
def test_without_any():
    """Nobody who takes traces: what to do about it is said in one line, and nothing is exported."""
    found = plan("", None, {})
    assert (found.environment, found.jaeger, found.said) == ({}, None, HOW)
    assert "\n" not in HOW


def test_a_collector_that_is_named(tmp_path: Path):
    """A collector goes before any Jaeger, by the option and by the variable."""
    jaeger = program(tmp_path)
    by_option = plan("http://a:1", jaeger, {})
    assert by_option.environment == {ENDPOINT: "http://a:1"}
    by_variable = plan("", jaeger, {ENDPOINT: "http://b:2"})
    assert by_variable.environment == {}
    assert (by_option.jaeger, by_variable.jaeger) == (None, None)
    assert "http://a:1" in by_option.said
    assert "http://b:2" in by_variable.said


def test_a_jaeger_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that is found is started, and the processes export to it."""
    found = program(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    port = free_block()
    traces = plan("", None, {}, ui_port=port, otlp_port=port + 1)
    assert traces.jaeger == found
    assert traces.environment == {ENDPOINT: f"http://127.0.0.1:{port + 1}"}
    assert f"http://127.0.0.1:{port}" in traces.said


def test_a_jaeger_that_runs(tmp_path: Path):
    """One that runs already is used, and no second one is started."""
    with socket.create_server(("127.0.0.1", 0)) as running:
        port = running.getsockname()[1]
        traces = plan("", program(tmp_path), {}, ui_port=port, otlp_port=1)
    assert traces.jaeger is None
    assert traces.environment == {ENDPOINT: "http://127.0.0.1:1"}


def test_tracing_that_is_off(tmp_path: Path):
    """Who wants no traces gets no Jaeger, and no line about it."""
    traces = plan("", program(tmp_path), {"OTEL_SDK_DISABLED": "true"})
    assert (traces.jaeger, traces.said) == (None, "")


def test_what_is_no_program(tmp_path: Path):
    """A Jaeger that is named and is none is refused before anything starts."""
    with pytest.raises(InvalidOption, match="must be a program"):
        plan("", tmp_path / "missing", {})
    environment = {name: value for name, value in os.environ.items() if name != ENDPOINT}
    done = command("up", "--jaeger", str(tmp_path / "missing"), env=environment)
    assert done.returncode == 2
    assert "must be a program" in done.stderr


async def test_a_mesh_starts_it(tmp_path: Path):
    """It runs as a part of the mesh: waited for, seen by `status`, and gone with it."""
    port = free_block()
    traces = plan("", program(tmp_path, port), {}, ui_port=port, otlp_port=port + 1)
    options = MeshOptions(port=free_block(), data_dir=tmp_path / "data", traces=traces)
    mesh = Mesh(options)
    async with mesh.running():
        await mesh.wait_ready()
        assert mesh.pid("jaeger")
        status = command("status", "--data", str(tmp_path / "data"))
        (line,) = [line for line in status.stdout.splitlines() if line.startswith("jaeger")]
        assert "healthy" in line
        assert status.returncode == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
