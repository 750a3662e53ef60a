"""Pinning a file of a model hub: which bytes a branch or tag names today, written down for ever."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from models import registry
from models.entry import HubFile, ModelFile
from models.hub import download_hub_file
from services.errors import InvalidArgument, ModelFileError

_FIELDS = ("name", "description", "hub", "sha256", "size", "precision", "license", "card")


def pin(url: str, *, name: str, like: str, license: str) -> ModelFile:
    """Download the file that `url` names into the cache, and make the registry's entry of it.

    `like` names a registered file with the same precision, card and architecture. Raises
    InvalidArgument, ModelNotFound, and ModelFileError when the file cannot be downloaded, or the
    hub says something else of it than what came.
    """
    try:
        file = TypeAdapter(HubFile).validate_python(url)
    except ValidationError as error:
        raise InvalidArgument(f"url: {error.errors()[0]['msg']}", field="url") from error
    example = registry.find(like)
    if name in {entry.name for entry in registry.load_registry()}:
        raise InvalidArgument(f"name: {name!r} is registered already", field="name")
    folder = registry.models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pin-", dir=folder) as work:
            part = Path(work) / "file"
            entry = _described(file, part, example, name, license)
            part.replace(folder / entry.filename)
    except OSError as error:
        raise ModelFileError(f"{file} cannot be kept: {error}") from error
    return entry


def stanza(entry: ModelFile) -> str:
    """A hub's file as a registry has it, in TOML."""
    found = {field: getattr(entry, field) for field in (*_FIELDS, "architecture")}
    lines = [
        f"{field} = {json.dumps(value if isinstance(value, int) else str(value))}"
        for field, value in found.items()
        if value is not None
    ]
    return "\n".join(["[[file]]", *lines, ""])


def _described(file: HubFile, part: Path, example: ModelFile, name: str, license: str) -> ModelFile:
    """Download a file and describe it by what came, not by what the hub says of it."""
    said = download_hub_file(file, part)
    commit = file.revision if file.is_pinned else said.commit
    if commit is None:
        raise ModelFileError(f"{file}: the hub does not say which commit {file.revision!r} is")
    size = part.stat().st_size
    with part.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if said.size not in (None, size) or said.sha256 not in (None, digest):
        raise ModelFileError(
            f"{file}: {size} bytes with the SHA-256 {digest} came, the hub says {said.size} bytes "
            f"with {said.sha256}"
        )
    try:
        return ModelFile(
            name=name,
            description=f"{file.file} of {file.repo}",
            hub=file.model_copy(update={"revision": commit}),
            sha256=digest,
            size=size,
            precision=example.precision,
            license=license,
            card=example.card,
            architecture=example.architecture,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidArgument(f"{field}: {first['msg']}", field=field) from error
