"""An image as a model gets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Source: TypeAlias = Literal["rendition", "original"]
"""What of an image a model reads: the picture that is small and upright, or the bytes that came."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a model reads of an image, encoded, and the size in pixels of the upright original.

    `source` is the upright rendition, or for a model that reads them the original's own bytes,
    which its header may have turned upright; or what reads the one or the other. The original may
    be larger than the rendition: coordinates in results are those of the upright original.
    """

    source: bytes | Callable[[], bytes]
    width: int
    height: int

    @property
    def data(self) -> bytes:
        """The encoded bytes. May read a file: ask in the thread that decodes them.

        On the event loop the same read costs 0.1 ms more, and the bytes grow cold on their way to
        the thread. Raises what reading raises, ImageNotFound among it.
        """
        return self.source if isinstance(self.source, bytes) else self.source()
