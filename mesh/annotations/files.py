"""Pictures as files: whole or not there, and never in the place of another file."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from PIL import Image

QUALITY: Final = 90
"""Of JPEGs: the copy is for looking at."""


def names_of(labels: Iterable[str]) -> list[str]:
    """A file's name for each of many labels, without an extension, no two the same."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for label in labels:
        stem = Path(label).stem if label != "-" else "stdin"
        stem = stem.lstrip(".") or "image"
        name = stem
        while seen[name.casefold()]:  # some file systems do not tell A from a
            seen[stem.casefold()] += 1
            name = f"{stem}-{seen[stem.casefold()]}"
        seen[name.casefold()] += 1
        names.append(name)
    return names


def save(picture: Image.Image, folder: Path, name: str, *, lossless: bool) -> Path:
    """Write a picture durably under a name of its own; returns where. Raises OSError.

    What is there already stays: the name is counted up then.
    """
    extension = ".png" if lossless else ".jpg"
    temporary = folder / f".{secrets.token_hex(8)}{extension}"
    try:
        with temporary.open("xb") as file:
            if lossless:
                picture.save(file, "PNG")
            else:
                picture.save(file, "JPEG", quality=QUALITY)
            file.flush()
            os.fsync(file.fileno())
        return _named(temporary, folder, name)
    finally:
        temporary.unlink(missing_ok=True)


def _named(temporary: Path, folder: Path, name: str) -> Path:
    count = 1
    while True:
        numbered = name if count == 1 else f"{name}~{count}"
        target = folder / f"{numbered}{temporary.suffix}"
        try:
            _move(temporary, target)
        except FileExistsError:
            count += 1
        else:
            return target


def _move(temporary: Path, target: Path) -> None:
    """Rename, but never over what is there already. Raises FileExistsError."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here, as on FAT: the name is taken first, empty
        target.open("xb").close()
        os.replace(temporary, target)
