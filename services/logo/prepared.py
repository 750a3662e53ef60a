"""The built-in gallery as it is kept between its preparation, which takes a minute, and its use.

    magic (8 bytes) | SHA-256 of the rest (32) | the gallery's arrays, as NumPy's npz

Its name says what it was made of. SIFT and Skia differ in last digits from processor to processor,
so what comes out does not name it: two machines with the same recipe answer as two runs of one
model would, close but not to the last digit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Final

import cv2
import faiss
import numpy as np

from services.errors import ModelFileError
from services.fingerprint import fingerprint
from services.logo import gallery, marks, sift
from services.logo.gallery import Gallery
from services.logo.marks import mark_of_drawing
from services.logo.types import Mark, MarkParameters, MatchParameters

MAGIC: Final = b"VMlogos\x01"

ICONS: Final = Path(__file__).with_name("icons.py")
"""Named as a file: a process that serves need not have Skia."""

SOURCES: Final[tuple[ModuleType | Path, ...]] = (marks, sift, gallery, ICONS)

LIBRARIES: Final = ("opencv-python-headless", "skia-python", "faiss-cpu", "pillow")

MIN_FEATURES: Final = MatchParameters().min_matches
"""Features that a mark has at least: with fewer it could never be recognized."""


def recipe(icons_sha256: str) -> str:
    """16 hexadecimal digits of all that shapes the built-in gallery, before matching begins."""
    return fingerprint(
        sources=SOURCES,
        libraries=LIBRARIES,
        icons=icons_sha256,
        marks=dataclasses.asdict(MarkParameters()),
        lists=MatchParameters().lists,
        min_features=MIN_FEATURES,
    )


def filename(icons_sha256: str) -> str:
    """What the prepared gallery is called, beside the weight files."""
    return f"logo-{icons_sha256[:12]}-{recipe(icons_sha256)}.gallery"


def prepare(icons: bytes, target: Path) -> None:
    """Draw the logos, find their features and keep them, whole or not at all. Takes a minute.

    Raises ModelFileError.
    """
    from services.logo.icons import drawings

    cv2.setNumThreads(1)  # as many pictures at a time as there are cores, and one core each
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The threads are OpenCV's, which lets go of the interpreter; drawing takes a second in all.
        found = list(pool.map(lambda drawn: mark_of_drawing(*drawn), drawings(icons)))
    keep(gallery.build(_recognizable(found), MatchParameters()), target)


def _recognizable(found: list[Mark]) -> list[Mark]:
    return [mark for mark in found if len(mark.features) >= MIN_FEATURES]


def keep(built: Gallery, target: Path) -> None:
    """Write a gallery. Raises ModelFileError when that is not possible."""
    arrays = io.BytesIO()
    np.savez(
        arrays,
        brands=np.array(built.brands),
        brand_of=built.brand_of,
        sizes=built.sizes,
        mark_of=built.mark_of,
        points=built.points,
        index=faiss.serialize_index(built.index),
    )
    data = arrays.getvalue()
    try:
        # Beside the target, so that the last move is a rename within one file system.
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=target.parent) as folder:
            made = Path(folder) / target.name
            with made.open("wb") as file:
                file.write(MAGIC + hashlib.sha256(data).digest() + data)
                file.flush()
                os.fsync(file.fileno())
            made.replace(target)
    except OSError as error:
        raise ModelFileError(f"{target.name} cannot be kept: {error}") from error


def load(file: Path) -> Gallery:
    """A gallery that was prepared. Raises ModelFileError when it is missing or damaged."""
    kept, reason = _read(file)
    if reason:
        raise ModelFileError(f"{file} {reason}; `visionmesh models fetch` makes it")
    try:
        with np.load(io.BytesIO(kept)) as arrays:
            index = faiss.deserialize_index(arrays["index"])
            return Gallery(
                [str(brand) for brand in arrays["brands"]],
                arrays["brand_of"],
                arrays["sizes"],
                arrays["mark_of"],
                arrays["points"],
                gallery.descriptors_of(index),
                index,
            )
    except (ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{file} holds no gallery: {error}") from error


def problem(file: Path) -> str:
    """What is wrong with a prepared gallery, after its name; empty when nothing is."""
    return _read(file)[1]


def _read(file: Path) -> tuple[memoryview, str]:
    """The arrays as they were kept, and what is wrong with the file."""
    try:
        data = memoryview(file.read_bytes())
    except FileNotFoundError:
        return memoryview(b""), "is missing"
    except OSError as error:
        return memoryview(b""), f"cannot be read: {error.strerror}"
    head = len(MAGIC) + 32
    arrays = data[head:]
    if data[:head] != MAGIC + hashlib.sha256(arrays).digest():
        return memoryview(b""), "is damaged"
    return arrays, ""
