"""Downloading wheels with the real pip, from a folder instead of an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.download import download_wheel
from services.errors import ModelFileError
from tests.models.test_registry import LocalIndex


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return LocalIndex(wheels)


def test_pip_brings_the_pinned_wheel(index: LocalIndex, tmp_path: Path):
    """pip, configured by its own variables, brings the very wheel that is pinned."""
    wheel = download_wheel(index.entry().package, tmp_path)
    assert wheel.read_bytes() == index.path.read_bytes()


def test_pip_refuses_another_hash(index: LocalIndex, tmp_path: Path):
    """A wheel of the right name with another hash is an error on one line, without a wheel."""
    wheel = index.entry().package.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ModelFileError, match=r"cannot be downloaded: .*HASHES") as failure:
        download_wheel(wheel, tmp_path)
    assert "\n" not in failure.value.message
    assert not (tmp_path / wheel.filename).exists()
