"""How what clients name is written: images, policies and brands."""

from __future__ import annotations

import re
from typing import Final

from services.errors import InvalidArgument

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def is_digest(name: str) -> bool:
    """Whether a name is 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Whether a policy or a brand may be called so: in at most 64 characters."""
    return _NAME.fullmatch(name) is not None


def image_id(raw: str, field: str = "id") -> str:
    """An image id as it stands in a path or in the parameter `field`. Raises InvalidArgument."""
    if not is_digest(raw):
        raise InvalidArgument(
            "an image id is the SHA-256 of the image's bytes in lower-case hexadecimal",
            field=field,
            limit="64 hexadecimal digits",
        )
    return raw
