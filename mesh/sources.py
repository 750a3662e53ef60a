"""Where images come from on the command line: files, directories, standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from services.errors import ImageTooLarge, VisionmeshError
from services.limits import MAX_IMAGE_BYTES

STDIN: Final = "-"

EXTENSIONS: Final = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".gif"})
"""What counts as an image in a directory; a file that is named itself may be called anything."""


class UnreadableFile(VisionmeshError):
    """A file or directory that cannot be read."""

    code = "UNREADABLE_FILE"


class NoImages(VisionmeshError):
    """A directory without images."""

    code = "NO_IMAGES"


@dataclass(frozen=True, slots=True)
class Source:
    """One image to be. `read` blocks, returns its bytes, and raises VisionmeshError."""

    label: str
    read: Callable[[], bytes]


def sources(paths: list[str], *, recursive: bool = False) -> Iterator[Source]:
    """At least one source for each path, in order.

    Directories give their visible image files sorted by name, and with `recursive` those of their
    visible directories. What cannot be read is a source too: one that raises when it is read.
    """
    for path in paths:
        if path == STDIN:
            yield Source(STDIN, lambda: _read(sys.stdin.buffer))
        elif os.path.isdir(path):
            yield from _directory(Path(path), recursive)
        else:
            yield _file(Path(path))


def _directory(root: Path, recursive: bool) -> Iterator[Source]:
    failures: list[OSError] = []
    found = 0
    for folder, folders, files in os.walk(root, onerror=failures.append):
        # In place: os.walk goes where this list says, in its order.
        folders[:] = sorted(name for name in folders if recursive and _visible(name))
        for name in sorted(files):
            path = Path(folder, name)
            if _visible(name) and path.suffix.lower() in EXTENSIONS and path.is_file():
                found += 1
                yield _file(path)
        while failures:
            yield _failed(failures.pop())
            found += 1
    for failure in failures:
        yield _failed(failure)
    if not found and not failures:
        hint = "" if recursive else " (--recursive looks into its directories)"
        yield _raising(root, NoImages(f"no images in this directory{hint}"))


def _file(path: Path) -> Source:
    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return _read(file)
        except OSError as error:
            raise UnreadableFile(_why(error)) from error

    return Source(_label(path), read)


def _read(file: BinaryIO) -> bytes:
    """All bytes, and never more in memory than an image may have."""
    data = file.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLarge(
            f"more than {MAX_IMAGE_BYTES} bytes", field="data", limit=f"{MAX_IMAGE_BYTES} bytes"
        )
    return data


def _failed(error: OSError) -> Source:
    return _raising(Path(os.fsdecode(error.filename)), UnreadableFile(_why(error)))


def _raising(path: Path, error: VisionmeshError) -> Source:
    def read() -> bytes:
        raise error

    return Source(_label(path), read)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _visible(name: str) -> bool:
    return not name.startswith(".")


def _label(path: Path) -> str:
    """The path as text that every terminal and every JSON reader takes."""
    return os.fsencode(path).decode("utf-8", "replace")
