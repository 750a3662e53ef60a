"""What is made of a registered file once, because every start would take as long.

Unlike a conversion it need not be the same to the last digit everywhere, so no hash of it is
registered: its name says what it was made of and by what, and it holds a sum of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models import registry
from models.entry import ModelFile


def path(entry: ModelFile) -> Path:
    """Where the preparation of a file is, or will be."""
    # Imported only where something is prepared: a weight file needs none of it.
    from services.logo import prepared

    return registry.models_dir() / prepared.filename(entry.sha256)


def problem(entry: ModelFile) -> str:
    """What is wrong with a preparation, after its name; empty when it is there and whole."""
    from services.logo import prepared

    return prepared.problem(path(entry))


def prepare(entry: ModelFile, begins: Callable[[], None] = lambda: None) -> bool:
    """Prepare a file that needs it and is fetched, unless that was done; whether it had to be.

    `begins` is called before it takes long. Raises ModelFileError.
    """
    if entry.preparation is None or not problem(entry):
        return False
    from services.logo import prepared

    begins()
    prepared.prepare(registry.path(entry.name).read_bytes(), path(entry))
    return True
