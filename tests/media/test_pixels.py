"""A rendition's version follows whatever makes it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from services.media import pixels


def test_another_library_is_another_version(monkeypatch: pytest.MonkeyPatch):
    """Upgrading any library that makes pixels makes every stored rendition stale."""
    assert pixels._recipe() == pixels.RENDITION_VERSION
    real = metadata.version
    seen = {pixels.RENDITION_VERSION}
    for upgraded in pixels.PIXEL_LIBRARIES:
        monkeypatch.setattr(
            metadata, "version", lambda name, up=upgraded: real(name) + ".1" * (name == up)
        )
        seen.add(pixels._recipe())
    assert len(seen) == 1 + len(pixels.PIXEL_LIBRARIES)


def test_another_source_is_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Editing a source of pixels makes every stored rendition stale."""
    source = pixels.PIXEL_SOURCES[0]
    assert source.__file__ is not None
    edited = ModuleType(source.__name__)
    edited.__file__ = str(tmp_path / "edited.py")
    text = Path(source.__file__).read_text("utf-8")
    for addition, same in (("", True), ("# edited", False)):
        Path(edited.__file__).write_text(text + addition, "utf-8")
        monkeypatch.setattr(pixels, "PIXEL_SOURCES", (edited, *pixels.PIXEL_SOURCES[1:]))
        assert (pixels._recipe() == pixels.RENDITION_VERSION) is same
