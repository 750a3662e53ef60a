"""Policies of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import InvalidPolicy, PolicyNotFound
from services.moderation.policy_set import PolicySet
from tests.moderation.support import VOCABULARY, rule

POLICY = "rules:\n" + rule("nsfw.score > 0.5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "default.yaml").write_text(POLICY)
    (tmp_path / "strict.yml").write_text(POLICY.replace("0.5", "0.1"))
    (tmp_path / "README.md").write_text("no policy")
    return tmp_path


def test_every_file_is_a_policy(folder: Path):
    """Files that end in .yaml or .yml are policies, under their names; others are none."""
    assert [policy.name for policy in PolicySet(folder, VOCABULARY).all()] == ["default", "strict"]


def test_empty_name_is_the_default(folder: Path):
    """A request that names no policy gets the default one."""
    policies = PolicySet(folder, VOCABULARY)
    assert policies.get("") is policies.get("default")
    assert policies.get("strict").name == "strict"


def test_unknown_name(folder: Path):
    """A policy that is not there is PolicyNotFound, and the known ones are named."""
    with pytest.raises(PolicyNotFound, match="'lax'; there are: default, strict") as failure:
        PolicySet(folder, VOCABULARY).get("lax")
    assert failure.value.field == "policy"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Strict.yaml", "Strict.yaml: a policy's name"),
        ("under_score.yaml", "under_score.yaml: a policy's name"),
        ("default.yml", "default.yml: the policy 'default' is there twice"),
    ],
)
def test_bad_file_name(folder: Path, name: str, said: str):
    """A name that no request could say, or that two files claim, is refused."""
    (folder / name).write_text(POLICY)
    with pytest.raises(InvalidPolicy, match=said):
        PolicySet(folder, VOCABULARY)


def test_one_bad_file_fails_all(folder: Path):
    """A folder with one bad policy is not loaded in part."""
    (folder / "extra.yaml").write_text(POLICY.replace("nsfw.score", "nsfw.scor"))
    with pytest.raises(InvalidPolicy, match=r"extra\.yaml:\d+:\d+: rule CODE: when: at 1:5"):
        PolicySet(folder, VOCABULARY)


def test_folder_without_default(folder: Path):
    """The policy of requests that name none must be there."""
    (folder / "default.yaml").unlink()
    with pytest.raises(InvalidPolicy, match=r"there is no default\.yaml"):
        PolicySet(folder, VOCABULARY)


def test_missing_folder(tmp_path: Path):
    """A folder that is not there is named."""
    with pytest.raises(InvalidPolicy, match="nowhere: cannot be read"):
        PolicySet(tmp_path / "nowhere", VOCABULARY)


def test_reload_takes_the_new(folder: Path):
    """Loading again replaces, adds and removes."""
    policies = PolicySet(folder, VOCABULARY)
    before = policies.get("default").version
    (folder / "default.yaml").write_text(POLICY.replace("0.5", "0.6"))
    (folder / "lax.yaml").write_text(POLICY)
    (folder / "strict.yml").unlink()
    policies.reload()
    assert [policy.name for policy in policies.all()] == ["default", "lax"]
    assert policies.get("default").version != before


def test_failed_reload_keeps_the_last_good(folder: Path):
    """When one file is bad, all policies stay as they were."""
    policies = PolicySet(folder, VOCABULARY)
    before = policies.all()
    (folder / "default.yaml").write_text(POLICY.replace("0.5", "0.6"))
    (folder / "strict.yml").write_text("rules: []\n")
    with pytest.raises(InvalidPolicy, match=r"strict\.yml"):
        policies.reload()
    assert policies.all() == before
