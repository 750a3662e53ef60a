"""Which visionmesh this is."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version() -> str:
    """The package's version; in a checkout with the commit, as in `0.1.0+g7a5e5c6`."""
    try:
        number = package_version("visionmesh")
    except PackageNotFoundError:
        number = "0"
    commit = _commit()
    return f"{number}+{commit}" if commit else number


def _commit() -> str:
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    described = found.stdout.strip()
    return f"g{described.replace('-', '.')}" if described else ""
