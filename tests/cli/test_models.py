"""`visionmesh models` over a cache of its own."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from mesh.cli import app
from models.registry import find, load_registry, models_dir


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache that nothing has been fetched into."""
    monkeypatch.setenv("VISIONMESH_MODELS_DIR", str(tmp_path))
    return tmp_path


def test_list_names_every_file():
    """Every registered file has a row with its licence and its source."""
    result = run("list")
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    for entry in load_registry():
        assert entry.license in rows[entry.name]
        assert f"{entry.package.package} {entry.package.version}" in rows[entry.name]
    assert result.exit_code == 0


def test_verify_says_what_is_missing(empty_cache):
    """A file that has not been fetched is named, and fails the command."""
    result = run("verify")
    for entry in load_registry():
        assert f"{entry.name}: {models_dir() / entry.filename} is missing\n" in result.stdout
    assert result.exit_code == 1


def test_verify_says_what_is_wrong(empty_cache):
    """A file of another length is named with both lengths, and fails the command."""
    entry = find("nsfw")
    (empty_cache / entry.filename).write_bytes(b"x")
    result = run("verify")
    assert f"is 1 bytes long, not {entry.size}" in result.stdout
    assert result.exit_code == 1


def test_what_is_there_is_not_fetched_again():
    """With every file there `fetch` and `verify` succeed, and say so for each."""
    names = [entry.name for entry in load_registry()]
    assert run("fetch").stdout == "".join(f"{name}: is there\n" for name in names)
    verified = run("verify")
    # What was prepared of a file has a line of its own.
    lines = [name for entry in load_registry() for name in [entry.name] * bool(entry.preparation)]
    assert [line.split(":")[0] for line in verified.stdout.splitlines()] == [*names, *lines]
    assert verified.exit_code == 0


def test_card_is_markdown_off_a_terminal():
    """A card is printed as it was written."""
    result = run("card", "nsfw")
    assert result.stdout.startswith("# ")
    assert result.exit_code == 0


def test_card_of_an_unknown_file_is_one_line():
    """An unknown name is told in one line that lists the known ones."""
    result = run("card", "none")
    assert result.stderr == "visionmesh: there is no model file 'none'; there are: " + (
        ", ".join(entry.name for entry in load_registry()) + "\n"
    )
    assert (result.stdout, result.exit_code) == ("", 1)
