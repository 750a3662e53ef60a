"""The list of sources that model versions hash is complete."""

from __future__ import annotations

import ast
import importlib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from services.media import info
from services.media.recipe import LIBRARIES, SOURCES

DECIDES_NO_PIXEL = {info.__name__}
"""Limits and the words of errors."""


def imported(module: ModuleType) -> set[str]:
    """The modules of this package that a module imports."""
    assert module.__file__ is not None
    found = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("services.media"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name for name in names if _is_module(name)} or {str(node.module)}
    return found


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: module.__name__)
def test_whatever_a_source_imports_is_a_source(module: ModuleType):
    """Each module on the way to pixels imports only modules that are listed too."""
    assert imported(module) <= {source.__name__ for source in SOURCES} | DECIDES_NO_PIXEL


def test_libraries_are_installed_under_these_names():
    """The versions that are hashed can be read."""
    for name in LIBRARIES:
        assert metadata.version(name)
