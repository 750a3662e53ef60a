"""`visionmesh keys`: made once, kept as hashes, revoked for good."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mesh.admission import Admission
from mesh.cli import app
from mesh.config import MeshConfig
from mesh.errors import MeshError
from mesh.front import Front
from mesh.keys import KeyFile
from mesh.launcher import Mesh
from mesh.ports import free_block
from mesh.programs import MeshOptions
from mesh.state import DataDir
from tests.cli.toys import until

COMMAND = (sys.executable, "-c", "from mesh.cli import app; app()", "keys")


@pytest.fixture
def data(tmp_path):
    return DataDir(tmp_path / "data")


def keys(data: DataDir, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments, "--data", str(data.root)])


def create(data: DataDir, tenant: str = "acme", *arguments: str) -> str:
    """A new key, as the command prints it."""
    result = keys(data, "create", "--tenant", tenant, *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def told(data: DataDir) -> str:
    """All that Envoy is told about who is let in."""
    return "".join(file.read_text() for file in sorted(data.access.glob("*.json")))


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_a_key_is_printed_once_and_kept_nowhere(data):
    """A new key is all that is on standard output; no file holds it, only its hash."""
    key = create(data, "acme", "--name", "nightly import")
    assert re.fullmatch(r"vmk_[0-9a-f]{8}_[0-9a-f]{48}", key)
    files = [path for path in data.root.rglob("*") if path.is_file()]
    assert files
    secret = key.rpartition("_")[2]
    assert not [path for path in files if secret in path.read_text()]
    assert sha256(key) in data.keys_file.read_text()


def test_two_keys_are_not_alike(data):
    """Every key has its own id and its own secret."""
    parts = [set(create(data).split("_")[1:]) for _ in range(3)]
    assert not parts[0] & parts[1] | parts[1] & parts[2] | parts[0] & parts[2]


def test_only_the_owner_may_read(data):
    """The hashes, the token and what Envoy is told are readable by nobody else."""
    create(data)
    files = [data.keys_file, data.token_file, *data.access.iterdir()]
    assert len(files) > 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_list_shows_everything_but_secrets(data):
    """Keys are listed with tenant, name and times, as a table and as JSON, without hashes."""
    first, second = create(data, "acme", "--name", "a"), create(data, "globex")
    keys(data, "revoke", first.split("_")[1])
    rows = json.loads(keys(data, "list", "--json").stdout)
    assert [(row["id"], row["tenant"], row["name"]) for row in rows] == [
        (first.split("_")[1], "acme", "a"),
        (second.split("_")[1], "globex", ""),
    ]
    assert set(rows[0]) == {"id", "tenant", "name", "created_at", "revoked_at"}
    assert [row["revoked_at"] is None for row in rows] == [False, True]
    table = keys(data, "list").stdout.splitlines()
    assert table[0].split() == ["id", "tenant", "name", "created", "revoked"]
    assert [line.split()[1] for line in table[1:]] == ["acme", "globex"]


def test_envoy_is_told_of_every_change(data):
    """A new key's hash goes to Envoy with the change, and leaves with its revocation."""
    key, other = create(data), create(data, "globex")
    assert sha256(key) in told(data)
    assert keys(data, "revoke", key.split("_")[1]).exit_code == 0
    assert sha256(key) not in told(data)
    assert sha256(other) in told(data)


def test_without_keys_a_mesh_is_open(data):
    """Where keys were never made, Envoy lets everybody in."""
    Admission(data, MeshConfig()).publish()
    assert "OPEN = true" in told(data)


def test_a_mesh_that_had_keys_never_opens_again(data):
    """Revoking the last key leaves nobody in, rather than everybody."""
    keys(data, "revoke", create(data))
    Admission(data, MeshConfig()).publish()
    assert "OPEN = false" in told(data)


def test_a_whole_key_can_be_revoked(data):
    """Who has found a leaked key can revoke it by itself, and its secret is not repeated."""
    key = create(data)
    result = keys(data, "revoke", key)
    assert result.exit_code == 0
    assert key.rpartition("_")[2] not in result.stdout + result.stderr
    assert sha256(key) not in told(data)


def test_revoking_twice_changes_nothing(data):
    """A key that is revoked stays revoked since the first time."""
    key = create(data)
    keys(data, "revoke", key)
    before = data.keys_file.read_text()
    assert keys(data, "revoke", key).exit_code == 0
    assert data.keys_file.read_text() == before


def test_a_key_that_is_not_there(data):
    """An unknown id is told in one line, without what may have been a secret."""
    create(data)
    result = keys(data, "revoke", "vmk_00000000_secret")
    assert result.stderr == (
        "visionmesh: there is no key 00000000: `visionmesh keys list` shows those there are\n"
    )
    assert result.exit_code == 1


@pytest.mark.parametrize("tenant", ["", "Acme", "a b", "-a", "a" * 64, "../etc", "a.b", "ä"])
def test_names_that_no_tenant_has(data, tenant):
    """A tenant's name must be fit for paths and host names; nothing is made for another one."""
    result = keys(data, "create", "--tenant", tenant)
    assert f"--tenant {tenant}: must be 1 to 63 of a-z, 0-9 and -" in result.stderr
    assert result.exit_code == 2
    assert not data.keys_file.exists()


def test_a_name_that_would_command_the_terminal(data):
    """A key's name is printable."""
    result = keys(data, "create", "--tenant", "acme", "--name", "\x1b[31m")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"keys": [{}]}', '{"keys": [{"id": "a"', '{"keys": 3}', "\x00", "[" * 5000],
)
def test_a_damaged_file_closes_the_mesh(data, text):
    """A key file that cannot be read is an error for whoever needs it, never taken for no keys."""
    create(data)
    data.keys_file.write_text(text)
    for result in (keys(data, "list"), keys(data, "create", "--tenant", "acme")):
        assert f"visionmesh: {data.keys_file}: is damaged" in result.stderr
        assert result.exit_code == 1
    with pytest.raises(MeshError, match="is damaged"):
        Admission(data, MeshConfig()).publish()
    assert data.keys_file.read_text() == text


def test_a_link_to_nowhere_does_not_open_the_mesh(data):
    """Keys that are kept elsewhere, where they cannot be found now, are not taken for no keys."""
    create(data)
    data.keys_file.rename(data.root / "elsewhere")
    data.keys_file.symlink_to(data.root / "not mounted")
    before = told(data)
    with pytest.raises(MeshError, match=r"keys\.json: is a link to a file that is not there"):
        Admission(data, MeshConfig()).publish()
    assert told(data) == before


def test_a_key_set_that_is_spoilt_meanwhile_changes_no_key(data):
    """What Envoy cannot be told is not written down: a revoked key would go on to let in."""
    key = create(data)
    (data.root / "jwks.json").write_text('{"keys": [{"kty": "RSA"}]}')
    (data.root / "mesh.yaml").write_text("jwt: {issuer: a, audiences: [b], jwks: jwks.json}")
    before = data.keys_file.read_text()
    for arguments in (("revoke", key), ("create", "--tenant", "acme")):
        result = keys(data, *arguments)
        assert re.fullmatch(
            r"visionmesh: .*jwks\.json: .*RSA key; no key was changed\n", result.stderr
        )
        assert (result.exit_code, result.stdout) == (1, "")
    assert data.keys_file.read_text() == before


async def test_a_key_made_while_a_mesh_starts_keeps_its_jwts(tmp_path, data, monkeypatch):
    """From the first moment on `keys` knows which configuration file a mesh was started with."""
    (tmp_path / "jwks.json").write_text('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}')
    config = tmp_path / "other.yaml"
    config.write_text("jwt: {issuer: a, audiences: [b], jwks: jwks.json}")
    told_before: list[str] = []

    def prepare(_front: Front) -> None:
        told_before.append((data.access / "jwt.json").read_text())
        create(data)
        raise MeshError("far enough")

    monkeypatch.setattr(Front, "prepare", prepare)
    options = MeshOptions(port=free_block(), data_dir=data.root, config_file=config)
    with pytest.raises(MeshError, match="far enough"):
        async with Mesh(options).running():
            raise AssertionError("it started")
    assert "inline_string" in told_before[0]
    assert (data.access / "jwt.json").read_text() == told_before[0]
    assert data.running() is None


async def test_writers_at_the_same_time_lose_nothing(data):
    """Who changes keys while another one does waits for it, and both changes reach Envoy."""
    with Admission(data, MeshConfig()).changing() as file:
        writer = creating(data)
        await until(lambda: waits(writer.pid) or writer.poll() is not None, "a second writer")
        assert writer.poll() is None
        _, first = file.create("globex")
    second = writer.communicate()[0].strip()
    kept = {key.sha256 for key in KeyFile(data.keys_file).read()}
    assert kept == {sha256(first), sha256(second)}
    assert all(digest in told(data) for digest in kept)


def creating(data: DataDir) -> subprocess.Popen[str]:
    """Another process that makes a key."""
    return subprocess.Popen(
        [*COMMAND, "create", "--tenant", "acme", "--data", str(data.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def waits(pid: int) -> bool:
    """Whether a process waits for a lock that another one holds: see proc_locks(5)."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line.split() and str(pid) in line.split() for line in locks)


def test_a_directory_that_cannot_be_made(tmp_path):
    """A data directory that cannot be is one line that names it."""
    (tmp_path / "file").touch()
    result = keys(DataDir(tmp_path / "file" / "data"), "create", "--tenant", "acme")
    assert re.fullmatch(r"visionmesh: .*/file/data/keys\.lock: Not a directory\n", result.stderr)
    assert result.exit_code == 1


def test_the_token_stays(data):
    """The secret of a mesh outlives its restarts; a file that holds none gets a new one."""
    admission = Admission(data, MeshConfig())
    token = admission.publish()
    assert len(token) >= 32
    assert admission.publish() == token == data.token()
    data.token_file.write_text("short")
    assert admission.publish() not in ("short", token)
    assert (data.access / "token").read_text() == data.token()
    assert data.token() not in told(data)
