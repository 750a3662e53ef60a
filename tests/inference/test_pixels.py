"""The list of what shapes pixels has no gaps."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

from services.inference.pixels import PIXEL_LIBRARIES, PIXEL_SOURCES

NOT_PIXELS = {"numpy"}
"""Moves pixels about and computes none."""


def imported(module: ModuleType) -> Iterator[str]:
    """Every name that a module's text imports, and the modules that it imports them from."""
    assert module.__file__ is not None
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def test_every_media_module_that_they_import_is_among_them():
    """No source of pixels imports a media module that is not a source of pixels itself."""
    known = {module.__name__ for module in PIXEL_SOURCES}
    names = {name for module in PIXEL_SOURCES for name in imported(module)}
    needed = {name for name in names if name.startswith("services.media.") and is_module(name)}
    assert "services.media.info" in needed
    assert needed <= known


def test_every_library_that_they_import_is_named():
    """Every distribution that a source of pixels imports counts with its version."""
    distributions = packages_distributions()
    tops = {name.split(".")[0] for module in PIXEL_SOURCES for name in imported(module)}
    used = {found.lower() for top in tops for found in distributions.get(top, [])}
    assert set(PIXEL_LIBRARIES) <= used
    assert used - NOT_PIXELS - {"visionmesh"} == set(PIXEL_LIBRARIES)
