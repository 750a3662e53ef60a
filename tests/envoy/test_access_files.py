"""The files that say who is let in: what goes into them, and who may read them."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from mesh import proxy
from mesh.access import FILTERS, TOKEN_FILE, Access, InvalidAccess, Jwt, write_access
from tests.envoy.keys import ACME, TOKEN, Issuer, access, digest_of
from tests.support.envoy import settings_in

JWT = Jwt(issuer="https://login.example", audiences=("visionmesh",), jwks=Path("missing.json"))


def test_only_the_owner_reads_them(tmp_path: Path):
    """They hold the mesh's token: no other user of the machine may read it, also when replaced."""
    for _ in range(2):
        write_access(tmp_path, access())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        files = (TOKEN_FILE, *(filter_.file for filter_ in FILTERS))
        assert modes == dict.fromkeys(files, 0o600)


def test_keys_are_kept_as_hashes(tmp_path: Path):
    """Whoever reads the files learns no key."""
    write_access(tmp_path, access())
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert any(digest_of(ACME) in text for text in texts)
    assert not any(ACME in text for text in texts)


def test_the_configuration_itself_names_no_token(tmp_path: Path):
    """What a person shows to others, the configuration, is without secrets."""
    settings = settings_in(tmp_path)
    write_access(settings.access_dir, access())
    proxy.write_config(tmp_path / "envoy.yaml", settings)
    text = (tmp_path / "envoy.yaml").read_text()
    assert TOKEN not in text
    assert digest_of(ACME) not in text


@pytest.mark.parametrize(
    "wrong",
    [
        Access(keys={"vmk_clear": "acme"}),
        Access(keys={digest_of(ACME).upper(): "acme"}),
        Access(keys={digest_of(ACME): "Acme"}),
        Access(keys={digest_of(ACME): ""}),
        Access(token="with space"),
        Access(token="line\nbreak"),
        Access(jwt=JWT),
        Access(jwt=replace(JWT, issuer="")),
        Access(jwt=replace(JWT, audiences=())),
        Access(jwt=replace(JWT, claim="")),
    ],
    ids=repr,
)
def test_what_envoy_could_not_use_changes_nothing(wrong: Access, tmp_path: Path):
    """Keys in clear, impossible names, tokens and issuers are refused, the files as they were."""
    write_access(tmp_path, access())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InvalidAccess):
        write_access(tmp_path, wrong)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"keys": []}', "null"])
def test_a_file_that_is_no_key_set(text: str, tmp_path: Path):
    """A JWKS file that holds no keys is refused by name."""
    jwks = tmp_path / "keys.json"
    jwks.write_text(text)
    with pytest.raises(InvalidAccess, match=r"keys\.json is no JSON Web Key Set"):
        write_access(tmp_path / "access", Access(jwt=replace(JWT, jwks=jwks)))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("keys", "is not an array"),
        ([None], "doesn't have any valid public key"),
        ([{"kid": "one"}], r"\[kty\] is missing"),
        ([{"kty": "RSA", "e": "AQAB"}], r"\[n\] field is missing"),
        ([{"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}], "invalid Base64"),
    ],
)
def test_keys_that_envoy_would_refuse(keys: object, said: str, tmp_path: Path):
    """It would keep the keys that were exchanged: the file is refused by name, with the reason."""
    write_access(tmp_path, access(jwt=Issuer(tmp_path).setting))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    jwks = tmp_path.parent / f"{tmp_path.name}.json"
    jwks.write_text(json.dumps({"keys": keys}))
    with pytest.raises(InvalidAccess, match=rf"{jwks.name}: .*{said}"):
        write_access(tmp_path, access(jwt=replace(JWT, jwks=jwks)))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_writing_the_configuration_keeps_who_is_let_in(tmp_path: Path):
    """Access files that are there survive a new configuration."""
    settings = settings_in(tmp_path)
    write_access(settings.access_dir, access(jwt=Issuer(tmp_path).setting))
    before = {path: path.read_bytes() for path in settings.access_dir.iterdir()}
    proxy.write_config(tmp_path / "envoy.yaml", settings)
    assert {path: path.read_bytes() for path in settings.access_dir.iterdir()} == before


@pytest.mark.parametrize(
    ("host", "open_"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)]
)
def test_nobody_else_is_let_in_unasked(host: str, open_: bool, tmp_path: Path):
    """Without access files a mesh is open on loopback and closed anywhere else."""
    settings = settings_in(tmp_path, edge_host=host)
    proxy.write_config(tmp_path / "envoy.yaml", settings)
    text = (settings.access_dir / "credentials.json").read_text()
    assert f"local OPEN = {'true' if open_ else 'false'}\\n" in text
