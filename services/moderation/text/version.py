"""One name for how text is understood here."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

from services.fingerprint import fingerprint

_LIBRARIES: Final = ("linkify-it-py", "phonenumbers")


@cache
def text_version() -> str:
    """The fingerprint of all that shapes what is found in a text, 16 hexadecimal digits.

    That is the text of this package's modules, the libraries that they use, and Unicode's tables.
    """
    return fingerprint(
        sources=Path(__file__).parent.glob("*.py"),
        libraries=_LIBRARIES,
        unicode=unicodedata.unidata_version,
    )
