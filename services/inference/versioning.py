"""A model's version: one hash over everything that shapes its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from services.fingerprint import fingerprint
from services.inference.engine import EngineDescription


def model_version(
    *,
    weights: str | Mapping[str, str],
    parameters: Mapping[str, Any],
    sources: Iterable[ModuleType],
    libraries: Iterable[str],
    engine: EngineDescription | Mapping[str, EngineDescription],
) -> str:
    """The fingerprint of all of it, 16 hexadecimal digits.

    `weights` is the weight file's SHA-256 and `engine` what runs it; of a model of several files
    both are by file. `parameters` is what processing is set to (JSON values), `sources` the modules
    whose text decides between bytes and result, `libraries` the distributions whose version does.
    Raises TypeError for a parameter that JSON does not know.
    """
    return fingerprint(
        sources=sources,
        libraries=libraries,
        weights=weights if isinstance(weights, str) else dict(weights),
        parameters=dict(parameters),
        engine=_described(engine),
    )


def _described(engine: EngineDescription | Mapping[str, EngineDescription]) -> dict[str, Any]:
    if isinstance(engine, EngineDescription):
        return dataclasses.asdict(engine)
    return {file: dataclasses.asdict(one) for file, one in engine.items()}
