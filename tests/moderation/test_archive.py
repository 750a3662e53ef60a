"""Every policy that was ever loaded can be loaded again, as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from services import errors
from services.media.objects import Objects
from services.moderation.archive import COMPILED, PolicyArchive
from services.moderation.policy import Policy, parse_policy
from tests.moderation.support import VOCABULARY, rule
from tests.releases.stores import Store
from tests.support.whole import until


def policy(when: str = "nsfw.score > 0.5", comment: str = "") -> Policy:
    text = f"# {comment}\nrules:\n" + rule(when)
    return parse_policy(text.encode(), "strict", VOCABULARY)


def path(of: Policy) -> str:
    return f"policies/{of.name}/{of.version}.yaml"


async def kept(objects: Objects, *policies: Policy) -> None:
    archive = PolicyArchive(objects, VOCABULARY)
    archive.keep(policies)
    await archive.settle(10)
    await archive.close()


async def test_found_by_another_process(tmp_path: Path):
    """What was kept is found by name and version, as it was written."""
    old, new = policy("nsfw.score > 0.5"), policy("nsfw.score > 0.6")
    await kept(Objects.open(tmp_path), old, new)
    assert (tmp_path / path(old)).read_bytes() == old.text
    archive = PolicyArchive(Objects.open(tmp_path), VOCABULARY)
    for one in (old, new):
        found = await archive.get("strict", one.version)
        assert (found.version, found.codes, found.text) == (one.version, one.codes, one.text)


async def test_written_once():
    """A version is written once; another comment is no other version."""
    store, one = Store(), policy(comment="first")
    await kept(store.objects, one)
    await kept(store.objects, one, policy(comment="second"))
    assert store.written == [path(one)]
    assert await store.real.get(path(one)) == one.text


async def test_unknown_version():
    """A version that was never loaded is not found, nor is another policy's."""
    objects, one = Objects.open("memory://"), policy()
    await kept(objects, one)
    archive = PolicyArchive(objects, VOCABULARY)
    for name, version in (("strict", "0" * 16), ("default", one.version)):
        with pytest.raises(errors.PolicyNotFound):
            await archive.get(name, version)


@pytest.mark.parametrize(
    "damage", [b"", b"\xff", b"rules: [", b"rules: []", policy("nsfw.score > 0.9").text]
)
async def test_damaged_text(damage: bytes):
    """A text that is not that version's judges nothing, until the version is loaded again."""
    objects, one = Objects.open("memory://"), policy()
    await objects.put(path(one), damage)
    with pytest.raises(errors.PolicyNotFound):
        await PolicyArchive(objects, VOCABULARY).get("strict", one.version)
    await kept(objects, one)
    found = await PolicyArchive(objects, VOCABULARY).get("strict", one.version)
    assert found.version == one.version


@pytest.mark.parametrize("broken", ["down", "read_only"])
async def test_broken_store(broken: str):
    """While the store fails, policies in use are known nevertheless, and written when it works."""
    store, one = Store(), policy()
    setattr(store, broken, True)
    archive = PolicyArchive(store.objects, VOCABULARY, first_retry_s=0.01)
    archive.keep([one])
    await archive.settle(0.05)
    assert store.written == []
    assert await archive.get("strict", one.version) is one
    setattr(store, broken, False)
    await archive.settle(10)
    await archive.close()
    assert store.written == [path(one)]


async def test_one_that_cannot_be_written_holds_up_no_other(tmp_path: Path):
    """A path that cannot be written, whatever is there, is tried again after the others."""
    bad, good = policy("nsfw.score > 0.5"), policy("nsfw.score > 0.6")
    (tmp_path / path(bad) / "a folder").mkdir(parents=True)
    archive = PolicyArchive(Objects.open(tmp_path), VOCABULARY, first_retry_s=0.01)
    archive.keep([bad, good])

    async def written() -> bool:
        return (tmp_path / path(good)).is_file()

    await until(written, "the other one is written")
    (tmp_path / path(bad) / "a folder").rmdir()
    (tmp_path / path(bad)).rmdir()
    await archive.settle(10)
    await archive.close()
    assert (tmp_path / path(bad)).read_bytes() == bad.text


async def test_store_that_is_down_is_not_a_missing_policy():
    """While the store fails, an old version is unavailable and not unknown."""
    store, one = Store(), policy()
    await kept(store.objects, one)
    store.down = True
    with pytest.raises(errors.StoreUnavailable):
        await PolicyArchive(store.objects, VOCABULARY).get("strict", one.version)


async def test_compiled_once_and_bounded():
    """An old policy is compiled once while it is in use; only some are kept compiled."""
    store = Store()
    policies = [policy(f"nsfw.score > 0.{number:03}") for number in range(COMPILED + 1)]
    await kept(store.objects, *policies)
    archive = PolicyArchive(store.objects, VOCABULARY)
    store.reads.clear()
    first = await archive.get("strict", policies[0].version)
    assert await archive.get("strict", policies[0].version) is first
    assert len(store.reads) == 1
    for one in policies[1:]:
        await archive.get("strict", one.version)
    assert await archive.get("strict", policies[0].version) is not first
