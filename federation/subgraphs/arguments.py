"""Arguments that fields of several subgraphs take."""

from __future__ import annotations

import math
from typing import Final

from services.errors import InvalidArgument

MAX_NAMES: Final = 100
"""Labels or brands that one field may name, as in the contracts of the models."""


def score(value: float, field: str = "minScore") -> float:
    """A score from 0 to 1. Raises InvalidArgument."""
    if not 0 <= value <= 1 or math.isnan(value):
        raise InvalidArgument(f"{field} is a number from 0 to 1", field=field, limit="1")
    return value


def several(values: list[str] | None, field: str) -> tuple[str, ...]:
    """A list of names, none when nothing is said. Raises InvalidArgument."""
    if values and len(values) > MAX_NAMES:
        raise InvalidArgument(
            f"{field} names at most {MAX_NAMES}", field=field, limit=str(MAX_NAMES)
        )
    return tuple(values or ())


def first(value: int | None, most: int) -> int:
    """How many are wanted, from 0 to `most`; all when nothing is said. Raises InvalidArgument."""
    if value is None:
        return most
    if not 0 <= value <= most:
        raise InvalidArgument(
            f"first is a whole number from 0 to {most}", field="first", limit=str(most)
        )
    return value
