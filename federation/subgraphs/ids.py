"""Image ids as clients write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.errors import InvalidArgument
from services.limits import MAX_BATCH_IMAGES
from services.media.layout import is_digest

MAX_IDS: Final = MAX_BATCH_IMAGES
"""Images that one field may name."""

MAX_ENTITIES: Final = 4 * MAX_BATCH_IMAGES
"""Images that one request may come to, from whatever subgraph names them."""


def image_id(raw: str) -> str:
    """An image id. Raises InvalidArgument for what is no SHA-256."""
    if not is_digest(raw):
        raise InvalidArgument(
            "an image id is the SHA-256 of the image's bytes in lower-case hexadecimal",
            field="id",
            limit="64 hexadecimal digits",
        )
    return raw


def check_count(ids: Sequence[object], field: str, most: int) -> None:
    """Raises InvalidArgument for more than `most` of them."""
    if len(ids) > most:
        raise InvalidArgument(
            f"{field}: {len(ids)} images, at most {most}", field=field, limit=str(most)
        )
