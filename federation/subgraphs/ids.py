"""Image ids as clients write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.errors import InvalidArgument
from services.limits import MAX_BATCH_IMAGES

MAX_IDS: Final = MAX_BATCH_IMAGES
"""Images that one field may name."""

MAX_ENTITIES: Final = 4 * MAX_BATCH_IMAGES
"""Images that one request may come to, from whatever subgraph names them."""


def check_count(ids: Sequence[object], field: str, most: int) -> None:
    """Raises InvalidArgument for more than `most` of them."""
    if len(ids) > most:
        raise InvalidArgument(
            f"{field}: {len(ids)} images, at most {most}", field=field, limit=str(most)
        )
