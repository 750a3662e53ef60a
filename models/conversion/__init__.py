"""Weight files that are made here: from the form in which others publish them, to ONNX.

The converters need NumPy and onnx, and are imported only when something is to be converted.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from models.archive import read_member
from models.entry import Conversion
from services.errors import ModelFileError

MAX_MEMBER_BYTES: Final = 1_000_000_000

_SOURCES: Final = ("tfjs.py", "onnx_graph.py")


def fingerprint() -> str:
    """SHA-256 of the text of everything that decides what a conversion makes."""
    folder = Path(__file__).resolve().parent
    texts = (f"{name}\n{(folder / name).read_text('utf-8')}" for name in _SOURCES)
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def convert(archive: Path, member: str, conversion: Conversion) -> bytes:
    """The ONNX file that is made of a model in a downloaded package.

    Raises ModelFileError when the converter is not the registered one, or cannot read the model.
    """
    if (found := fingerprint()) != conversion.sha256:
        raise ModelFileError(
            f"the converter {conversion.converter!r} has changed: its SHA-256 is {found}, "
            f"not {conversion.sha256}"
        )
    from models.conversion import onnx_graph, tfjs

    model = read_member(archive, member, MAX_MEMBER_BYTES)
    folder = member.rpartition("/")[0]
    weights = b"".join(
        read_member(archive, f"{folder}/{name}".lstrip("/"), MAX_MEMBER_BYTES)
        for name in tfjs.weight_files(model)
    )
    return onnx_graph.to_onnx(
        tfjs.read(model, weights),
        input_name=conversion.input,
        height=conversion.height,
        width=conversion.width,
        outputs=conversion.outputs,
    )
