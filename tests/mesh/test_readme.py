"""The README's own commands, run as they stand there against a mesh."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from services.catalog import DEFAULT_PORT, MESH_OFFSET
from services.moderation.settings import PACKAGED_POLICIES
from tests.support.photos import jpeg
from tests.support.whole import World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONSOLE = re.compile(r"```console\n\$ (?P<command>.*)\n(?P<answer>(?:.*\n)*?)```")


@dataclass(frozen=True)
class Example:
    """One command of the README, and what the README says that it prints."""

    command: str
    answer: str


EXAMPLES = [
    Example(found["command"], found["answer"])
    for found in CONSOLE.finditer(README)
    if not found["command"].startswith("make ")
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    # As `make up` starts it, with the policy that it comes with.
    env = {("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(PACKAGED_POLICIES)}}
    async with world(tmp_path_factory.mktemp("mesh") / ".visionmesh", replica_env=env) as running:
        yield running


@pytest.fixture(scope="module")
def folder(mesh: World) -> Path:
    """What the README's reader has: the clone's environment, a photo, a folder of photos."""
    folder = mesh.mesh.data.root.parent
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "photo.jpg").write_bytes(jpeg(640, 427))
    (folder / "photos").mkdir()
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        (folder / "photos" / name).write_bytes(jpeg(320, 240, seed=len(name)))
    script = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert script
    (folder / "ask.py").write_text(_at_this_mesh(script[1], mesh))
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command[:40])
async def test_command_prints_what_the_readme_says(mesh: World, folder: Path, example: Example):
    """Each command succeeds, and prints an answer of the form that the README shows."""
    assert shutil.which("curl"), "the README's requests need curl"
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        _at_this_mesh(example.command, mesh),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await shell.communicate()
    assert shell.returncode == 0, complaints.decode()
    assert _form(printed.decode()) == _form(example.answer)


async def test_every_way_in_has_an_example():
    """The README shows REST, GraphQL, the command line, gRPC, and how to look at the mesh."""
    commands = " ".join(example.command for example in EXAMPLES)
    for part in (
        "/v1/moderations",
        "/graphql",
        "visionmesh moderate",
        "python ask.py",
        "visionmesh status",
    ):
        assert part in commands


def _at_this_mesh(text: str, mesh: World) -> str:
    """The same text with the ports of the mesh under test; its reader's command needs no flag."""
    port = mesh.mesh.options.port
    text = text.replace(f"127.0.0.1:{DEFAULT_PORT + MESH_OFFSET}", mesh.mesh.mesh_address)
    text = text.replace(f"127.0.0.1:{DEFAULT_PORT}", f"127.0.0.1:{port}")
    return text.replace(
        "visionmesh moderate", f"visionmesh moderate --mesh {mesh.mesh.mesh_address}"
    )


def _form(text: str) -> object:
    """What stays the same between two runs: a JSON answer's names, or a table's words."""
    try:
        return _names(json.loads(text))
    except ValueError:
        return [
            re.findall(r"[a-z_]+(?:\.[a-z]+)?", _without_version(line)) for line in _lines(text)
        ]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _without_version(line: str) -> str:
    """A line less everything with a digit in it: hashes, revisions, exponents, times."""
    return re.sub(r"\S*\d\S*", "", line)


def _names(value: object) -> object:
    if isinstance(value, dict):
        return {name: _names(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_names(inner) for inner in value]
    return type(value).__name__
