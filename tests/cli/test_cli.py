"""The command itself: version, help, colours, and what it loads."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mesh.cli import app

HEAVY = ("grpc", "rich.table", "pydantic", "jinja2", "numpy", "structlog")
"""What takes long to load and no help text needs."""


def test_version():
    """`--version` names the package's version."""
    result = CliRunner().invoke(app, ["--version"])
    assert re.fullmatch(r"visionmesh \d+\.\d+\.\d+(\+g[0-9a-f]+(\.dirty)?)?\n", result.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["up"], ["status"], ["moderate"], ["trace"], ["models"], ["models", "card"]),
        *(["keys"], ["keys", "create"], ["keys", "list"], ["keys", "revoke"]),
    ],
)
def test_help_says_what_a_command_does(arguments):
    """Every command has help, without codes for a terminal's colours."""
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0
    assert f"Usage: {' '.join(['visionmesh', *arguments])}" in result.stdout
    assert "\x1b" not in result.stdout


def test_help_loads_nothing_heavy():
    """What a command works with is loaded when it runs, so that help is instant."""
    script = f"""
import sys
from mesh.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "loaded:"


def test_a_wrong_option_is_no_traceback():
    """An unknown option is told in words, with the exit status of wrong usage."""
    result = CliRunner().invoke(app, ["up", "--prot", "1"])
    assert "No such option" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--replicas", "nsfw"], "--replicas nsfw: must be NAME=N, as in nsfw=2"),
        (["--replicas", "nsfw=two"], "--replicas nsfw=two: must be NAME=N, as in nsfw=2"),
        (["--replicas", "nsfv=2"], "--replicas nsfv=2: no such process; there are: images,"),
        (["--replicas", "nsfw=0"], "--replicas nsfw=0: must be from 1 to "),
        (["--port", "70000"], "--port 70000: must be from 1 to "),
        (["--host", "example.org"], "--host example.org: must be an address of this machine"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1: is no address of this machine"),
    ],
)
def test_options_that_cannot_be(tmp_path, arguments, complaint):
    """An impossible option of `up` is told in one line before anything is started."""
    result = CliRunner().invoke(app, ["up", "--data", str(tmp_path), *arguments])
    assert result.stderr.startswith(f"visionmesh: {complaint}")
    assert result.stderr.count("\n") == 1
    assert (result.stdout, result.exit_code) == ("", 2)
