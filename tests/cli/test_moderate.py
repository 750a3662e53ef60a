"""`visionmesh moderate` against a mesh of fakes, over real gRPC."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mesh.cli import app
from tests.cli.fakes import FakeMesh, fake_mesh
from tests.cli.toys import free_port

GOLDEN = Path(__file__).with_name("golden.jsonl")

COMMAND = (sys.executable, "-c", "from mesh.cli import app; app()", "moderate")


@pytest.fixture(scope="module")
def mesh():
    """One mesh of fakes for all tests: what they upload does not disturb."""
    with fake_mesh() as mesh:
        yield mesh


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Good and bad images, broken and unreadable files, in the current directory."""
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(b"image of a cat")
    Path("b.jpg").write_bytes(b"image, bad")
    Path("c.jpg").write_bytes(b"image, unknown")
    Path("d.jpg").touch()
    Path("e.jpg").write_text("text called image")
    with Path("f.jpg").open("wb") as huge:
        huge.truncate(1 << 40)
    Path("g.jpg").write_bytes(b"image, lost")
    Path("h.jpg").symlink_to("h.jpg")
    Path(".hidden.jpg").write_bytes(b"image, bad")
    return sorted(str(path) for path in Path().glob("[a-z].jpg"))


def run(mesh: FakeMesh, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["moderate", "--mesh", mesh.address, *arguments])


def steady(text: str) -> str:
    """Without what differs between two runs."""
    text = re.sub(r'"durationMs": [\d.]+', '"durationMs": 0', text)
    text = re.sub(r'"traceId": "[0-9a-f]{32}"', '"traceId": "TRACE"', text)
    return re.sub(r"[0-9a-f]{64}", "DIGEST", text)


def test_one_json_object_a_line(mesh, folder):
    """`--json` prints one object for each image, in their order, and nothing else."""
    result = run(mesh, "--json", *folder)
    assert steady(result.stdout) == GOLDEN.read_text()
    assert result.stderr == ""
    assert result.exit_code == 2


def test_the_order_is_kept_however_many_are_on_their_way(mesh, tmp_path):
    """More images than may wait for each other come out in the order in which they went in."""
    for number in range(40):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"image %d" % number)
    result = run(mesh, "--json", "--concurrency", "2", str(tmp_path))
    files = [json.loads(line)["file"] for line in result.stdout.splitlines()]
    assert files == sorted(str(path) for path in tmp_path.iterdir())
    assert result.exit_code == 0


def test_broken_files_among_good_ones(mesh, folder):
    """The table has a row for each file, says why some failed, and the rest went on."""
    result = run(mesh, *folder)
    header, *rows, summary = result.stdout.splitlines()
    assert header.split() == ["file", "verdict", "reasons", "score", "ms"]
    assert [row.split()[:2] for row in rows] == [
        ["a.jpg", "approved"],
        ["b.jpg", "rejected"],
        ["c.jpg", "undetermined"],
        ["d.jpg", "failed"],
        ["e.jpg", "failed"],
        ["f.jpg", "failed"],
        ["g.jpg", "failed"],
        ["h.jpg", "failed"],
    ]
    assert re.search(r"NUDITY +0\.970 +\d+$", rows[1])
    assert "missing: nsfw" in rows[2]
    assert "EMPTY_IMAGE: data: no bytes" in rows[3]
    assert "IMAGE_TOO_LARGE: more than 20000000 bytes" in rows[5]
    assert re.fullmatch(
        r"8 images in [\d.]+ s: 1 approved, 1 rejected, 1 undetermined, 5 failed", summary
    )
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["a.jpg"], 0),
        (["a.jpg", "b.jpg"], 1),
        (["a.jpg", "c.jpg"], 1),
        (["b.jpg", "d.jpg"], 2),
        (["none.jpg", "a.jpg"], 2),
    ],
)
def test_the_exit_status_says_how_it_went(mesh, folder, names, status):
    """0 when all are approved, 1 when one is not, 2 when one got no verdict."""
    assert run(mesh, *names).exit_code == status


def test_a_directory_without_images(mesh, folder):
    """A directory without images is a row that says so, beside images that get their verdict."""
    os.mkdir("empty")
    result = run(mesh, "empty", "a.jpg")
    assert "NO_IMAGES" in result.stdout
    assert "1 approved, 1 failed" in result.stdout
    assert result.exit_code == 2


def test_standard_input(mesh):
    """An image on standard input gets its verdict, in a process of its own."""
    found = subprocess.run(
        [*COMMAND, "-", "--json", "--mesh", mesh.address],
        input=b"image, bad",
        capture_output=True,
        check=False,
    )
    row = json.loads(found.stdout)
    assert (row["file"], row["decision"]) == ("-", "REJECTED")
    assert found.returncode == 1


def test_a_policy_by_name(mesh, folder):
    """`--policy` reaches the mesh."""
    assert run(mesh, "a.jpg", "--policy", "strict").exit_code == 0
    assert mesh.moderation.policies[-1] == "strict"


@pytest.mark.parametrize("policy", ["none", "NOT/ONE"])
def test_an_unknown_policy_is_one_line(mesh, folder, policy):
    """A policy that is none is told once, not for every image."""
    result = run(mesh, *folder, "--policy", policy)
    assert result.stdout == ""
    assert result.stderr.startswith(f"visionmesh: --policy {policy}: ")
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 2


def test_no_mesh(folder):
    """Without a mesh one line says how to start one."""
    port = free_port()
    result = CliRunner().invoke(app, ["moderate", "a.jpg", "--mesh", f"127.0.0.1:{port}"])
    assert result.stderr == (
        f"visionmesh: no mesh answers at 127.0.0.1:{port}: start one with `visionmesh up`, or name "
        "another with --mesh\n"
    )
    assert (result.stdout, result.exit_code) == ("", 3)


@pytest.mark.parametrize("address", ["8081", "localhost:", ":8081", "localhost:http"])
def test_an_address_that_is_none(folder, address):
    """An address without host or port is refused with an example."""
    result = CliRunner().invoke(app, ["moderate", "a.jpg", "--mesh", address])
    assert result.stderr == (
        f"visionmesh: --mesh {address}: must be HOST:PORT, as in 127.0.0.1:8081\n"
    )
    assert result.exit_code == 2


def test_a_name_that_would_command_the_terminal(mesh, tmp_path):
    """Control characters in a file's name do not reach the terminal."""
    (tmp_path / "\x1b[31mred.jpg").write_bytes(b"image")
    result = run(mesh, str(tmp_path))
    assert "\x1b" not in result.stdout
    assert "\N{REPLACEMENT CHARACTER}[31mred.jpg" in result.stdout


@pytest.mark.parametrize("key", ["bad", ""])
def test_a_key_that_is_not_good_is_one_line(folder, key):
    """Where the mesh needs a key, a wrong and a missing one are told once, not for every image."""
    with fake_mesh(closed=True) as mesh:
        result = run(mesh, *folder, "--key", key)
    assert result.stderr == "visionmesh: --key: a valid key is needed\n"
    assert (result.stdout, result.exit_code) == ("", 2)


def test_a_good_key(folder, monkeypatch):
    """The key is shown with every call, from the option or from the environment."""
    with fake_mesh(closed=True) as mesh:
        assert run(mesh, "a.jpg", "--key", "good").exit_code == 0
        monkeypatch.setenv("VISIONMESH_API_KEY", "good")
        assert run(mesh, "a.jpg").exit_code == 0


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_one(folder, key):
    """Characters that no header may have are refused without repeating the key."""
    result = CliRunner().invoke(app, ["moderate", "a.jpg", "--key", key])
    assert result.stderr == "visionmesh: --key: has characters that no key has\n"
    assert result.exit_code == 2
