"""The keys of one mesh: who may call it, for which tenant. Only their hashes are kept.

A key reads `vmk_<id>_<secret>`. The file is the truth; `mesh/admission.py` tells Envoy about it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mesh.errors import InvalidOption, MeshError
from mesh.private import write_private
from services.serving.tenancy import is_tenant

PREFIX: Final = "vmk"
ID_BYTES: Final = 4
SECRET_BYTES: Final = 24
"""192 random bits: nobody guesses them, so a plain SHA-256 keeps them well enough."""

MAX_NAME_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key. Times are UTC in ISO 8601; `sha256` is hex, of the whole key."""

    id: str
    tenant: str
    name: str
    sha256: str
    created_at: str
    revoked_at: str | None = None


class KeyFile:
    """The file of a mesh's keys, shared by every process that looks at or changes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        """Whether keys were ever made here: from then on nobody is let in without one."""
        return os.path.lexists(self._path)

    def read(self) -> tuple[Key, ...]:
        """All keys, the oldest first, revoked ones too.

        Raises MeshError when there is a file that cannot be read: to take it for no keys would open
        the mesh to everybody.
        """
        try:
            text = self._path.read_text()
        except FileNotFoundError as error:
            if not self.exists():
                return ()
            raise MeshError(f"{self._path}: is a link to a file that is not there") from error
        except (OSError, UnicodeDecodeError) as error:
            raise MeshError(f"{self._path}: cannot be read ({error})") from None
        try:
            return tuple(_key(each) for each in json.loads(text)["keys"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise MeshError(
                f"{self._path}: is damaged; restore it, or remove it and make new keys"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out, also those of other processes. Raises MeshError."""
        lock = self._path.with_suffix(".lock")
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise MeshError(f"{lock}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def create(self, tenant: str, name: str = "") -> tuple[Key, str]:
        """A new key: what is kept of it, and the key itself, which is in no file.

        To be called while `locked`. Raises InvalidOption, MeshError.
        """
        if not is_tenant(tenant):
            raise InvalidOption(
                f"--tenant {tenant}: must be 1 to 63 of a-z, 0-9 and -, with no - at either end"
            )
        if len(name) > MAX_NAME_CHARS or not name.isprintable():
            raise InvalidOption(f"--name: must be at most {MAX_NAME_CHARS} printable characters")
        keys = self.read()
        taken = {key.id for key in keys}
        while (key_id := secrets.token_hex(ID_BYTES)) in taken:
            pass
        text = f"{PREFIX}_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
        key = Key(key_id, tenant, name, hashlib.sha256(text.encode()).hexdigest(), _now())
        self._write((*keys, key))
        return key, text

    def revoke(self, key_id: str) -> Key:
        """Let nobody in with a key any more; a whole key does for its id.

        One that is revoked already stays as it is. To be called while `locked`. Raises MeshError.
        """
        wanted = _id_of(key_id)
        keys = self.read()
        found = next((key for key in keys if key.id == wanted), None)
        if found is None:
            raise MeshError(
                f"there is no key {wanted}: `visionmesh keys list` shows those there are"
            )
        if found.revoked_at is None:
            found = replace(found, revoked_at=_now())
            self._write(tuple(found if key.id == wanted else key for key in keys))
        return found

    def _write(self, keys: tuple[Key, ...]) -> None:
        document = {"keys": [asdict(key) for key in keys]}
        try:
            write_private(self._path, json.dumps(document, indent=2) + "\n")
        except OSError as error:
            raise MeshError(f"{self._path}: {error.strerror}") from None


def _key(found: dict[str, str | None]) -> Key:
    """Raises TypeError, ValueError when it is none."""
    key = Key(**found)  # type: ignore[arg-type] # checked below
    texts = (key.id, key.tenant, key.name, key.sha256, key.created_at)
    if not all(isinstance(text, str) for text in texts) or len(bytes.fromhex(key.sha256)) != 32:
        raise ValueError("not a key")
    if not is_tenant(key.tenant) or not isinstance(key.revoked_at, str | None):
        raise ValueError("not a key")
    return key


def _id_of(text: str) -> str:
    """Of a key or of an id; never more of a key, as it goes into messages."""
    parts = text.split("_")
    return parts[1] if parts[0] == PREFIX and len(parts) > 1 else text


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
