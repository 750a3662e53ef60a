"""What decides how bytes become pixels: part of every rendition's and every model's version."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

from services.media import decode, formats, info, orientation, pillow, rendition
from services.media.formats import av1, avif, avif_samples, gif, jpeg, png, webp

PIXEL_SOURCES: Final[tuple[ModuleType, ...]] = (
    decode,
    formats,
    av1,
    avif,
    avif_samples,
    gif,
    jpeg,
    png,
    webp,
    info,
    orientation,
    pillow,
    rendition,
)
"""The modules between an upload and the pixels that a model sees. A test holds it complete."""

PIXEL_LIBRARIES: Final = ("pillow", "simplejpeg")
"""The distributions that decode, resize and encode."""


def _recipe() -> str:
    """16 hexadecimal digits of a SHA-256 over the sources' text and the libraries' versions."""
    shaping = {
        "sources": {source.__name__: _text(source) for source in PIXEL_SOURCES},
        "libraries": {name: metadata.version(name) for name in PIXEL_LIBRARIES},
    }
    canonical = json.dumps(shaping, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _text(source: ModuleType) -> str:
    if source.__file__ is None:
        raise TypeError(f"{source.__name__} has no source")
    return Path(source.__file__).read_text("utf-8")


RENDITION_VERSION: Final = _recipe()
"""By what a rendition was made. Renditions of another version are made anew when they are read, so
that no model version ever scores what other code or another library made."""
