"""A model's version: one hash over everything that shapes its output."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from services.inference.engine import EngineDescription

VERSION_DIGITS: Final = 16
"""64 bits: two versions of one model do not meet by chance, and a URL stays readable."""


def model_version(
    *,
    weights: str | Mapping[str, str],
    parameters: Mapping[str, Any],
    sources: Iterable[ModuleType],
    libraries: Iterable[str],
    engine: EngineDescription | Mapping[str, EngineDescription],
) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over all of it.

    `weights` is the weight file's SHA-256 and `engine` what runs it; of a model of several files
    both are by file. `parameters` is what processing is set to (JSON values), `sources` the modules
    whose text decides between bytes and result, `libraries` the distributions whose version does.
    The same on every machine that has the same of each: no path, clock or order of arguments
    enters. Raises TypeError for a parameter that JSON does not know.
    """
    shaping = {
        "weights": weights if isinstance(weights, str) else dict(weights),
        "parameters": dict(parameters),
        "sources": {module.__name__: _source_hash(module) for module in sources},
        "libraries": {name: metadata.version(name) for name in libraries},
        "engine": _described(engine),
    }
    # NaN has several spellings and equals nothing, so it names nothing.
    canonical = json.dumps(shaping, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:VERSION_DIGITS]


def _described(engine: EngineDescription | Mapping[str, EngineDescription]) -> dict[str, Any]:
    if isinstance(engine, EngineDescription):
        return dataclasses.asdict(engine)
    return {file: dataclasses.asdict(one) for file, one in engine.items()}


def _source_hash(module: ModuleType) -> str:
    """SHA-256 of a module's text, the same whichever way its lines end."""
    if module.__file__ is None:
        raise TypeError(f"{module.__name__} has no source")
    text = Path(module.__file__).read_text("utf-8")
    return hashlib.sha256(text.encode()).hexdigest()
