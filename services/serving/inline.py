"""Bytes that come with image references: how many a call may carry, and whose they are."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from services import errors
from services.limits import MAX_INLINE_BYTES
from visionmesh.common.v1.image_pb2 import ImageRef


def check_inline_bytes(refs: Sequence[ImageRef]) -> list[bytes]:
    """The bytes that each reference carries, empty where it carries none.

    Reading a bytes field of a message copies it, so whoever needs them reads them here, once.
    Raises ImageTooLarge when they are more than `MAX_INLINE_BYTES` together.
    """
    inline = [ref.data for ref in refs]
    count = sum(map(len, inline))
    if count > MAX_INLINE_BYTES:
        raise errors.ImageTooLarge(
            f"images: {count} bytes inline in one call, at most {MAX_INLINE_BYTES}",
            field="images",
            limit=f"{MAX_INLINE_BYTES} bytes",
        )
    return inline


async def check_digest(digest: str, data: bytes) -> None:
    """Whoever receives inline bytes hashes them before using them. Raises DigestMismatch."""
    found = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    if found != digest:
        raise errors.DigestMismatch(
            f"the inline bytes hash to {found}, not to {digest}", field="images.data"
        )
