"""`visionmesh models` over a cache of its own."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from mesh.cli import app
from models import registry
from models.registry import find, load_registry, models_dir
from tests.support import hub as hubs
from tests.support.hub import COMMIT, REPO


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
        assert f" {entry.origin} " in rows[entry.name]
    assert result.exit_code == 0


def test_list_says_what_is_there(empty_cache):
    """Each file's row says whether it is there, and of one that is not, whether it must be."""
    entry = find("nsfw")
    (empty_cache / entry.filename).write_bytes(b"x")
    rows = {line.split()[0]: line for line in run("list").stdout.splitlines()[1:]}
    assert " there " in rows["nsfw"]
    assert " missing " in rows["detection"]
    assert " optional, not there " in rows["dfine-s"]


def test_verify_says_what_is_missing(empty_cache):
    """A file that has not been fetched is named, and fails the command unless it is optional."""
    result = run("verify")
    for entry in load_registry():
        problem = "is optional and not there" if entry.optional else "is missing"
        assert f"{entry.name}: {models_dir() / entry.filename} {problem}\n" in result.stdout
    assert result.exit_code == 1


def test_optional_file_that_is_wrong_fails_verify(empty_cache, monkeypatch):
    """An optional file may be missing; one that is there must be the registered one."""
    entry = find("dfine-s")
    monkeypatch.setattr(registry, "load_registry", lambda: (entry,))
    assert run("verify").exit_code == 0
    (empty_cache / entry.filename).write_bytes(b"x")
    result = run("verify")
    assert f"is 1 bytes long, not {entry.size}" in result.stdout
    assert result.exit_code == 1


def test_verify_says_what_is_wrong(empty_cache):
    """A file of another length is named with both lengths, and fails the command."""
    entry = find("nsfw")
    (empty_cache / entry.filename).write_bytes(b"x")
    result = run("verify")
    assert f"is 1 bytes long, not {entry.size}" in result.stdout
    assert result.exit_code == 1


def test_what_is_there_is_not_fetched_again():
    """With every file there `fetch` and `verify` succeed, and say so for each.

    Nothing optional is fetched, so no hub is asked.
    """
    needed = [entry.name for entry in load_registry() if not entry.optional]
    assert run("fetch").stdout == "".join(f"{name}: is there\n" for name in needed)
    verified = run("verify")
    # What was prepared of a file has a line of its own.
    lines = [entry.name for entry in load_registry() for _ in range(1 + bool(entry.preparation))]
    assert [line.split(":")[0] for line in verified.stdout.splitlines()] == lines
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


def test_file_of_a_hub_is_pinned_registered_and_fetched(empty_cache, tmp_path, monkeypatch):
    """What `pin` prints is all that a registry needs; elsewhere `fetch` brings the file by it."""
    ours = tmp_path / "models.toml"
    with hubs.running({"onnx/model.onnx": b"weights"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        url = f"hf://{REPO}@main/onnx/model.onnx"
        options = ["--name", "dfine-n", "--like", "dfine-s", "--license", "Apache-2.0"]
        printed = run("pin", url, *options)
        assert printed.exit_code == 0, printed.stderr
        ours.write_text(printed.stdout, "utf-8")
        monkeypatch.setenv("VISIONMESH_MODELS_REGISTRY", str(ours))
        assert f"@{COMMIT}/" in printed.stdout
        assert run("fetch", "dfine-n").stdout == "dfine-n: is there\n"
        (empty_cache / find("dfine-n").filename).unlink()
        assert run("fetch", "dfine-n").stdout == (
            "dfine-n: downloading\ndfine-n: fetched and verified\n"
        )
    assert (empty_cache / find("dfine-n").filename).read_bytes() == b"weights"


def test_hub_that_is_not_there_is_one_line(empty_cache, monkeypatch):
    """Without a hub `fetch` of a hub's file fails with one line that names it."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    result = run("fetch", "dfine-s")
    assert result.stderr.startswith("visionmesh: hf://onnx-community/dfine_s_coco-ONNX@")
    assert "http://127.0.0.1:1" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.exit_code == 1
    assert list(empty_cache.iterdir()) == []


def test_fetch_of_an_unknown_file_fetches_nothing(empty_cache):
    """An unknown name is told before anything is fetched."""
    result = run("fetch", "none", "nsfw")
    assert "there is no model file 'none'" in result.stderr
    assert result.exit_code == 1
    assert list(empty_cache.iterdir()) == []
