"""The configuration file: read whole, checked field by field, handed on."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesh.cache import CacheDir
from mesh.cli import app
from mesh.config import find, load
from mesh.errors import InvalidOption
from mesh.programs import MeshOptions, proxy_settings, service_programs, trusted
from mesh.proxy import RateLimit
from mesh.state import DataDir
from services.catalog import BY_NAME

WHOLE = """
cors: {origins: ["https://app.example", "http://localhost:3000"]}
jwt: {issuer: https://id.example, audiences: [visionmesh], jwks: jwks.json, tenant_claim: org}
rate_limit: {requests: 100, per_s: 10}
tenants:
  acme: {rate_limit: {requests: 500}, retention_days: 30}
  globex: {retention_days: 0.5}
retention_days: 365
audit: {url: "postgresql://audit@db/audit", required: true}
redis_url: redis://127.0.0.1:6379/0
graphql:
  production: true
  only_known: true
  documents: known.json
  supergraph: super.graphql
  foreign_subgraphs: {products: "http://shop:9001/graphql", "stock": "https://stock/graphql"}
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "jwks.json").write_text('{"keys": [{"kty": "RSA"}]}')
    (tmp_path / "known.json").write_text('{"operations": [{"id": "a"}]}')
    (tmp_path / "super.graphql").touch()
    return tmp_path / "mesh.yaml"


def test_everything_reaches_the_processes(file, monkeypatch):
    """Retention, audit and Redis become what every process reads, and the token comes with them."""
    file.write_text(WHOLE)
    monkeypatch.setenv("VISIONMESH_REDIS_URL", "redis://elsewhere")
    config = load(file)
    programs = service_programs(
        MeshOptions(replica_env={("rest", 0): {"MORE": "1"}}),
        DataDir(file.parent),
        config,
        dict.fromkeys(BY_NAME, 1),
    )
    assert len(programs) == len(BY_NAME)
    for program in programs:
        env = trusted(program, "secret").env
        assert json.loads(env["VISIONMESH_RETENTION_DAYS"]) == {
            "*": 365,
            "acme": 30,
            "globex": 0.5,
        }
        assert env["VISIONMESH_AUDIT_URL"] == "postgresql://audit@db/audit"
        assert env["VISIONMESH_AUDIT_REQUIRED"] == "true"
        assert env["VISIONMESH_REDIS_URL"] == "redis://127.0.0.1:6379/0"
        assert env["VISIONMESH_GRAPHQL_PRODUCTION"] == "true"
        assert env["VISIONMESH_GRAPHQL_ONLY_KNOWN"] == "true"
        assert env["VISIONMESH_DOCUMENTS"] == str(file.parent / "known.json")
        assert env["VISIONMESH_SUPERGRAPH"] == str(file.parent / "super.graphql")
        assert env["VISIONMESH_FOREIGN_SUBGRAPHS"] == (
            "products=http://shop:9001/graphql,stock=https://stock/graphql"
        )
        assert env["VISIONMESH_TOKEN"] == "secret"
        assert ("MORE" in env) == (program.name == "rest")


def test_everything_reaches_envoy(file, tmp_path):
    """Rate limits, origins, the edge's address and the cache become Envoy's settings."""
    file.write_text(WHOLE)
    settings = proxy_settings(
        MeshOptions(host="0.0.0.0"), DataDir(tmp_path), load(file), CacheDir(tmp_path / "c", 77)
    )
    assert settings.rate_limit == RateLimit(100, 10)
    assert settings.tenant_rate_limits == {"acme": RateLimit(500, 1)}
    assert settings.cors_origins == ("https://app.example", "http://localhost:3000")
    assert (settings.edge_host, settings.host) == ("0.0.0.0", "127.0.0.1")
    assert (settings.cache_dir, settings.cache_max_bytes) == (tmp_path / "c", 77)


def test_the_gateway_is_told_where_subgraphs_are(tmp_path):
    """Every replica of the subgraphs, whom it asks itself, and where one may take over; Node runs
    it, not Python."""
    replicas = {**dict.fromkeys(BY_NAME, 1), "subgraphs": 2}
    programs = service_programs(MeshOptions(port=9000), DataDir(tmp_path), load(None), replicas)
    (gateway,) = (program for program in programs if program.name == "gateway")
    places = [f"http://127.0.0.1:{port}" for port in (9080, 9081, 9082)]
    assert gateway.env["VISIONMESH_SUBGRAPHS_URLS"].split(",") == places
    assert [Path(part).name for part in gateway.argv] == ["node", "main.ts"]


def test_a_process_is_stood_in_for(tmp_path):
    """What stands in for a process is started as it would be, on its port; nobody else changes."""
    options = MeshOptions(modules={"nsfw": "bench.graph.simulated", "gateway": "tests.cli.toy"})
    usual, changed = (
        {
            program.name: program
            for program in service_programs(
                each, DataDir(tmp_path), load(None), dict.fromkeys(BY_NAME, 1)
            )
        }
        for each in (MeshOptions(), options)
    )
    for name, program in changed.items():
        module = options.modules.get(name)
        argv = (sys.executable, "-P", "-m", module) if module else usual[name].argv
        assert program == dataclasses.replace(usual[name], argv=argv)


def test_nothing_configured_says_nothing(tmp_path):
    """Without a file, and with an empty one, no process is told anything."""
    (tmp_path / "mesh.yaml").touch()
    assert load(find(None, tmp_path)) == load(None)
    assert load(None).environment == {}


def test_which_file(tmp_path):
    """The file asked for is read; else the data directory's, when there is one."""
    assert find(None, tmp_path) is None
    (tmp_path / "mesh.yaml").touch()
    assert find(None, tmp_path) == tmp_path / "mesh.yaml"
    assert find(Path("other.yaml"), tmp_path) == Path.cwd() / "other.yaml"
    (tmp_path / "mesh.yaml").unlink()
    (tmp_path / "mesh.yaml").symlink_to(tmp_path / "not mounted")
    assert find(None, tmp_path) == tmp_path / "mesh.yaml"


def test_keys_of_jwts_lie_beside_the_file(file, monkeypatch):
    """The path of the JWKS is the configuration file's, wherever the command is run."""
    file.write_text(WHOLE)
    monkeypatch.chdir("/")
    jwt = load(file).jwt
    assert jwt is not None
    assert jwt.jwks == file.parent / "jwks.json"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate_limit: {requests: 0}", "rate_limit.requests: Input should be greater than or equal"),
        ("rate_limit: {requests: many}", "rate_limit.requests: Input should be a valid integer"),
        ("rate_limit: {requests: 1, per_s: 0}", "rate_limit.per_s: Input should be greater"),
        ("tenants: {Acme: {}}", "tenants.Acme: must be 1 to 63 of a-z"),
        ("tenants: {acme: {retention_days: -1}}", "tenants.acme.retention_days: Input should be"),
        ("tenants: {acme: {rate_limit: {requests: 1}}}", "rate_limit: must be there too when"),
        ("retention: 3", "retention: there is no such field"),
        ("cors: {origins: [https://a.example/path]}", "cors.origins.0: must be * or an origin"),
        ("cors: {origins: [a.example]}", "cors.origins.0: must be * or an origin"),
        ("redis_url: http://a", "redis_url: must begin with redis://"),
        ("audit: {required: perhaps}", "audit.required: Input should be a valid boolean"),
        ("jwt: {issuer: a, audiences: [], jwks: jwks.json}", "jwt.audiences: "),
        ("jwt: {issuer: a, audiences: [b], jwks: none.json}", "none.json: No such file"),
        ("jwt: {issuer: a, audiences: [b], jwks: mesh.yaml}", "mesh.yaml: is no JSON"),
        ("jwt: {audiences: [b], jwks: jwks.json}", "jwt.issuer: Field required"),
        ("graphql: {documents: none.json}", "none.json: No such file"),
        ("graphql: {documents: jwks.json}", "jwks.json: has no operations"),
        ("graphql: {supergraph: none.graphql}", "none.graphql: is no file"),
        ("graphql: {foreign_subgraphs: {shop: nowhere}}", "foreign_subgraphs.shop: must be a URL"),
        ("graphql: {foreign_subgraphs: {Shop: 'http://a'}}", "must be 1 to 63 of a-z"),
        ("graphql: {introspection: false}", "graphql.introspection: there is no such field"),
        ("[1, 2]", "Input should be a valid dictionary"),
        ("jwt: {tenant_claim: a/b, issuer: a}", "jwt.tenant_claim: must have no /"),
        ("a: [", "is no YAML: line 1, column 5: expected"),
        ("\0", "is no YAML: special characters are not allowed"),
        ("retention_days: 2026-13-01", "is no YAML: month must be in 1..12"),
        pytest.param(f"retention_days: {'9' * 5000}", "is no YAML: ", id="digits"),
        pytest.param("[" * 5000, "is no YAML: ", id="brackets"),
    ],
)
def test_what_cannot_be_is_said_by_file_and_field(file, text, said):
    """A wrong file is refused with its name, the field and what is allowed, in one line."""
    file.write_text(text)
    with pytest.raises(InvalidOption) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_passwords_are_not_repeated(file):
    """A value that is refused, or a line, is not shown: it may hold a password."""
    for text in (
        "redis_url: http://user:hunter2@host",
        "audit: {url: postgresql://me:hunter2@host",
    ):
        file.write_text(text)
        with pytest.raises(InvalidOption) as refused:
            load(file)
        assert "hunter2" not in str(refused.value)


def test_up_refuses_a_wrong_file_before_anything_starts(file, tmp_path):
    """`up --config` tells a wrong or missing file in one line, and makes no data directory."""
    file.write_text("retention: 3")
    data = tmp_path / "data"
    for path in (file, tmp_path / "none.yaml"):
        result = CliRunner().invoke(app, ["up", "--data", str(data), "--config", str(path)])
        assert result.stderr.startswith(f"visionmesh: {path}: ")
        assert (result.stderr.count("\n"), result.exit_code) == (1, 2)
    assert not data.exists()
