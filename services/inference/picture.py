"""An image as a model gets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded upright rendition, and the size in pixels of the upright original.

    The original may be larger: coordinates in results are those of the original.
    """

    source: bytes | Callable[[], bytes]
    """The rendition, or what reads it."""
    width: int
    height: int

    @property
    def rendition(self) -> bytes:
        """The rendition's bytes. May read a file: ask in the thread that decodes them.

        On the event loop the same read costs 0.1 ms more, and the bytes grow cold on their way to
        the thread. Raises what reading raises, ImageNotFound among it.
        """
        return self.source if isinstance(self.source, bytes) else self.source()
