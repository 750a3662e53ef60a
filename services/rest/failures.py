"""When nothing of several things succeeded: the one problem that tells most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services import errors
from services.errors import VisionmeshError

_ORDER: Final = (
    # Repeating it changes nothing: that is said even if something else may come back.
    errors.InvalidArgument,
    # Try again soon; what is late or not stored now may be there by then.
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.NotFound,
)
"""Which of several errors stands for all; what has no row comes last."""

MAX_DETAILS: Final = 8
"""Errors that are told in words: more than there are models (a guess)."""


def of_all(failures: Mapping[str, VisionmeshError]) -> VisionmeshError:
    """One error of at least one, by what failed: of the kind that tells most, in all their words.

    One alone stays what it is.
    """
    first = min(failures.values(), key=_rank)
    if len(failures) == 1:
        return first
    told = [f"{name}: {error.message}" for name, error in failures.items()][:MAX_DETAILS]
    return type(first)("; ".join(told), field=first.field, limit=first.limit)


def _rank(error: VisionmeshError) -> int:
    ranks = (rank for rank, kind in enumerate(_ORDER) if isinstance(error, kind))
    return next(ranks, len(_ORDER))
