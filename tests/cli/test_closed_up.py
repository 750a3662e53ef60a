"""`visionmesh up` with keys, JWTs and a configuration: who gets in, and from where."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from mesh.cache import MEMORY, MIN_BYTES, SHARE
from mesh.cli import app
from mesh.ports import free_block
from tests.cli.running import Up, command, jpeg, up
from tests.cli.toys import until


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """A mesh that begins without keys; the tests give it some, in their order."""
    directory = tmp_path_factory.mktemp("closed")
    with up(directory, "--replicas", "nsfw=2") as mesh:
        yield mesh


def ask(mesh: Up, path: str = "/v1/models", key: str = "", data: bytes | None = None) -> int:
    """The status of one request to the edge."""
    headers = {"X-API-Key": key} if key else {}
    if data:
        headers["Content-Type"] = "image/jpeg"
    request = urllib.request.Request(
        f"http://127.0.0.1:{mesh.port}{path}", data=data, headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def keys(mesh: Up, *arguments: str) -> str:
    """What `visionmesh keys` prints, run beside the mesh."""
    found = command("keys", *arguments, "--data", str(mesh.data.root))
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


async def test_keys_hold_without_a_restart(mesh):
    """The first key closes a running mesh, others come and go, and a revoked one is refused."""
    assert ask(mesh) == 200
    acme = keys(mesh, "create", "--tenant", "acme")
    await until(lambda: ask(mesh) == 401, "a mesh that asks for keys")
    await until(lambda: ask(mesh, key=acme) == 200, "the first key lets in")
    globex = keys(mesh, "create", "--tenant", "globex")
    await until(lambda: ask(mesh, key=globex) == 200, "the second key lets in")
    keys(mesh, "revoke", acme)
    await until(lambda: ask(mesh, key=acme) == 401, "a revoked key is refused")
    assert ask(mesh, key=globex) == 200
    assert ask(mesh, key=globex[:-1] + ("0" if globex[-1] != "0" else "1")) == 401


async def test_status_needs_no_key(mesh):
    """The operator of a closed mesh sees all of it, versions too."""
    keys(mesh, "create", "--tenant", "acme")
    await until(lambda: ask(mesh) == 401, "a mesh that asks for keys")
    document = json.loads(command("status", "--json", "--data", str(mesh.data.root)).stdout)
    assert document["healthy"], document
    versions = {row["version"] for row in document["processes"] if row["process"] == "nsfw"}
    assert re.fullmatch("[0-9a-f]{8,64}", versions.pop())


async def test_moderate_shows_a_key(mesh, tmp_path):
    """`moderate` gets no further without a key, and its verdict with one."""
    key = keys(mesh, "create", "--tenant", "acme")
    await until(lambda: ask(mesh, key=key) == 200, "the key lets in")
    (tmp_path / "a.jpg").write_bytes(jpeg())
    arguments = ("moderate", str(tmp_path / "a.jpg"), "--mesh", f"127.0.0.1:{mesh.port + 1}")
    refused = command(*arguments)
    assert refused.stderr == "visionmesh: --key: a valid key is needed\n"
    assert refused.returncode == 2
    assert command(*arguments, "--key", key).returncode == 0


def test_secrets_are_not_to_be_seen(mesh):
    """The mesh's token is on no command line, in no log, and in no file that others may read."""
    token = mesh.data.token()
    assert token
    for pid in mesh.pids:
        assert token not in " ".join(psutil.Process(pid).cmdline())
    holding = [
        path
        for path in mesh.data.root.rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    ]
    assert mesh.data.token_file in holding
    assert {path.stat().st_mode & 0o077 for path in holding} == {0}
    assert not [path for path in holding if path.is_relative_to(mesh.data.logs)]


def test_replicas_without_redis_are_warned_of(mesh):
    """Several replicas that share no Redis may compute twice: the start says so."""
    log = (mesh.data.root.parent / "err").read_text()
    assert "nsfw has several replicas and there is no redis_url" in log


def test_the_cache_is_in_memory_while_it_runs(tmp_path):
    """Envoy's cache takes memory while the mesh runs, and gives it back; without room, the disk."""
    space = os.statvfs(MEMORY)
    has_room = space.f_bavail * space.f_frsize >= SHARE * MIN_BYTES
    with up(tmp_path) as mesh:
        config = (mesh.data.root / "envoy.yaml").read_text()
        on_disk = mesh.data.root / "cache"
        found = re.findall(rf"{MEMORY}/visionmesh-[-0-9a-f]+|{re.escape(str(on_disk))}", config)
        [folder] = {Path(path) for path in found}
        assert (folder != on_disk) == has_room
        assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.exists() != has_room


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_strangers_need_keys(tmp_path, host):
    """Without keys the edge does not leave this machine, and one line says what to do."""
    arguments = ["up", "--host", host, "--data", str(tmp_path), "--port", str(free_block())]
    result = CliRunner().invoke(app, arguments)
    assert result.stderr.startswith(f"visionmesh: --host {host}: without keys everybody")
    assert "visionmesh keys create --tenant NAME --data " in result.stderr
    assert (result.stdout, result.exit_code) == ("", 2)


def test_revoked_keys_do_not_count(tmp_path):
    """A mesh whose keys are all revoked lets nobody in, and so stays on this machine too."""
    data = str(tmp_path)
    key = CliRunner().invoke(app, ["keys", "create", "--tenant", "a", "--data", data]).stdout
    CliRunner().invoke(app, ["keys", "revoke", key.strip(), "--data", data])
    result = CliRunner().invoke(app, ["up", "--host", "0.0.0.0", "--data", data])
    assert result.exit_code == 2


def test_with_keys_the_edge_leaves_this_machine(tmp_path):
    """With a key the edge listens where it is told, and nothing else does."""
    command("keys", "create", "--tenant", "acme", "--data", str(tmp_path / "data"))
    with up(tmp_path, "--host", "0.0.0.0") as mesh:
        listening = {
            (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
            for pid in mesh.pids
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert {ip for ip, port in listening if port == mesh.port} == {"0.0.0.0"}
        assert {ip for ip, port in listening if port != mesh.port} == {"127.0.0.1"}
        assert ask(mesh) == 401


def test_a_token_check_is_enough_to_leave(tmp_path):
    """With JWTs configured the edge may leave this machine without any key."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "jwks.json").write_text('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}')
    (data / "mesh.yaml").write_text("jwt: {issuer: a, audiences: [b], jwks: jwks.json}\n")
    with up(tmp_path, "--host", "0.0.0.0") as mesh:
        assert ask(mesh) == 401
