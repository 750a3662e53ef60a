"""Releases in the store: written once, found by everybody, and never mistaken for another."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services import errors
from services.media.objects import Objects
from services.releases.registry import Registry
from services.releases.release import Release
from tests.releases.stores import A, B, Store

RELEASE = Release({"nsfw": A}, "", {"default": "d1"})


def file_of(folder: Path, release: Release = RELEASE) -> Path:
    return folder / "releases" / f"{release.name}.json"


async def test_found_by_another_process(tmp_path: Path):
    """What one process publishes another one finds, on a disk."""
    await Registry(Objects.open(tmp_path)).publish(RELEASE)
    assert file_of(tmp_path).read_bytes() == RELEASE.encode()
    assert await Registry(Objects.open(tmp_path)).find(RELEASE.name) == RELEASE


async def test_published_once():
    """A release that is there is not written again."""
    store = Store()
    for _ in range(3):
        await Registry(store.objects).publish(RELEASE)
    assert store.written == [f"releases/{RELEASE.name}.json"]


@pytest.mark.parametrize("name", ["0" * 16, "", "../last", "last/policies", "A" * 16, "0" * 15])
async def test_unknown_release(name: str):
    """A name that was never given is no release, whatever it looks like."""
    registry = Registry(Objects.open("memory://"))
    await registry.keep({"nsfw": A}, {"default": "d1"})
    with pytest.raises(errors.ReleaseNotFound) as failure:
        await registry.find(name)
    assert failure.value.field == "release"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        os.urandom(200),
        Release({"nsfw": B}, "", {"default": "d1"}).encode(),
    ],
)
async def test_damaged_release_is_written_anew(damage: bytes):
    """A file that is not the release that it should be is none, until it is published again."""
    objects = Objects.open("memory://")
    await objects.put(f"releases/{RELEASE.name}.json", damage)
    registry = Registry(objects)
    with pytest.raises(errors.ReleaseNotFound):
        await registry.find(RELEASE.name)
    await registry.publish(RELEASE)
    assert await registry.find(RELEASE.name) == RELEASE


async def test_what_was_heard_of_last():
    """Versions that are kept are found again; what is not told anew stays."""
    objects = Objects.open("memory://")
    registry = Registry(objects)
    assert await registry.last_models(["nsfw", "ocr"]) == {}
    assert await registry.last_policies() == {}
    await registry.keep({"nsfw": A, "ocr": A}, {"default": "d1"})
    await Registry(objects).keep({"nsfw": B}, {})
    assert await registry.last_models(["nsfw", "ocr"]) == {"nsfw": B, "ocr": A}
    assert await registry.last_policies() == {"default": "d1"}


@pytest.mark.parametrize("damage", [b"", b"{", b"7", b"[1]", b'{"default": 1}'])
async def test_damaged_memory_is_forgotten(damage: bytes):
    """Last known versions that cannot be read are as if nobody had heard of them."""
    objects = Objects.open("memory://")
    registry = Registry(objects)
    await registry.keep({"nsfw": A}, {"default": "d1"})
    await objects.put("releases/last/models/nsfw.json", damage)
    await objects.put("releases/last/policies.json", damage)
    assert await registry.last_models(["nsfw"]) == {}
    assert await registry.last_policies() == {}


async def test_store_that_is_down():
    """A store that fails says so; it does not make a release unknown."""
    store = Store()
    store.down = True
    registry = Registry(store.objects)
    with pytest.raises(errors.StoreUnavailable):
        await registry.find(RELEASE.name)
    with pytest.raises(errors.StoreUnavailable):
        await registry.publish(RELEASE)


@pytest.mark.parametrize("version", ["\ud800", "a b", "a\n", "\x00", "a" * 129])
async def test_what_can_be_no_version(version: str):
    """Text that no message or header could carry is no version, and is forgotten."""
    objects = Objects.open("memory://")
    await objects.put("releases/last/models/nsfw.json", json.dumps(version).encode())
    await objects.put("releases/last/policies.json", json.dumps({"default": version}).encode())
    registry = Registry(objects)
    assert await registry.last_models(["nsfw"]) == {}
    assert await registry.last_policies() == {}
