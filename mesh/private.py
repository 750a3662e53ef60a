"""Files that hold secrets: readable by their owner only, and replaced in one step."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

TOKEN_CHARS: Final = 43
"""Of 32 random bytes in URL-safe base64."""


def write_private(path: Path, text: str) -> None:
    """Replace a file durably, with access for its owner only. Raises OSError.

    Two writers must be kept apart by their caller.
    """
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)  # a draft that a crash left behind keeps its mode
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def shared_token(path: Path) -> str:
    """The secret that Envoy and the processes of one mesh share; made when there is none yet.

    It stays the same across restarts. A file that holds no such secret is replaced. Raises OSError.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        token = ""
    if len(token) != TOKEN_CHARS or not token.replace("-", "").replace("_", "").isalnum():
        token = secrets.token_urlsafe(32)
        write_private(path, token + "\n")
    else:
        path.chmod(0o600)
    return token
