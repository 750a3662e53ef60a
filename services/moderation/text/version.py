"""One name for how text is understood here."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

_LIBRARIES: Final = ("linkify-it-py", "phonenumbers")


@cache
def text_version() -> str:
    """16 hexadecimal digits of a hash of all that shapes what is found in a text.

    That is the text of this package's modules, the libraries that they use, and Unicode's tables.
    """
    shaping = {
        "sources": {
            path.name: hashlib.sha256(path.read_text("utf-8").encode()).hexdigest()
            for path in Path(__file__).parent.glob("*.py")
        },
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "unicode": unicodedata.unidata_version,
    }
    canonical = json.dumps(shaping, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
