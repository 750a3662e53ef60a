"""Which code writes the answers of the subgraphs: a part of what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.client import defaults
from services.detection import converters as detection
from services.fingerprint import fingerprint
from services.logo import converters as logo
from services.ocr import converters as ocr

_FOLDER: Final = Path(__file__).parent


def representation(folder: Path = _FOLDER) -> str:
    """Changes whenever the same facts may be answered differently, so that entity tags do too.

    `folder` has the sources of the subgraphs. Processes of the same code say the same, whichever
    subgraphs they serve.
    """
    return fingerprint(
        sources=[*sorted(folder.glob("*.py")), defaults, detection, logo, ocr],
        libraries=["orjson", "strawberry-graphql"],
    )
