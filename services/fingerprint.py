"""One name for everything that shapes something: of a model, a gallery, a way to read text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

DIGITS: Final = 16
"""64 bits: two versions of one thing do not meet by chance, and a URL stays readable."""


def fingerprint(
    *, sources: Iterable[ModuleType | Path], libraries: Iterable[str], **shaping: Any
) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over all of it.

    `sources` are modules, or files of modules that need not be imported, whose text decides;
    `libraries` the distributions whose version does; `shaping` is what else there is (JSON values).
    The same on every machine that has the same of each: no path, clock or order of arguments
    enters. Raises TypeError for a value that JSON does not know, and for a module without a source.
    """
    everything = {
        **shaping,
        "sources": dict(map(_named, sources)),
        "libraries": {name: metadata.version(name) for name in libraries},
    }
    # NaN has several spellings and equals nothing, so it names nothing.
    canonical = json.dumps(everything, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:DIGITS]


def _named(source: ModuleType | Path) -> tuple[str, str]:
    """A source's name and the SHA-256 of its text, the same whichever way its lines end."""
    if isinstance(source, Path):
        return source.name, _hash(source)
    if source.__file__ is None:
        raise TypeError(f"{source.__name__} has no source")
    return source.__name__, _hash(Path(source.__file__))


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_text("utf-8").encode()).hexdigest()
