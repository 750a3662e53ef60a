"""What a result is called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResultKey:
    """Names one result for ever: the image's digest, the model's name and its version."""

    digest: str
    model: str
    version: str
