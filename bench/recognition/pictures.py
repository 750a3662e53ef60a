"""Pictures, and what a person sees in them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

EXPECTED: Final = Path(__file__).with_name("photos.toml")

FOLDERS: Final = {
    "skimage": "data",
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data/sample_data",
}
"""Where packages keep their pictures."""


@dataclass(frozen=True)
class Picture:
    """An encoded image, and what a person sees in it.

    `objects` are of the kinds that the detection model knows, `text` are lines that can be read,
    `faint` such that hardly can: finding them is no fault, and missing them neither.
    """

    name: str
    data: bytes
    objects: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    faint: tuple[str, ...] = ()
    logos: tuple[str, ...] = ()


def photos() -> Iterator[Picture]:
    """The pictures of `photos.toml`. Raises SystemExit when a package is not installed."""
    for package, pictures in tomllib.loads(EXPECTED.read_text("utf-8")).items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{package} is missing: `uv sync --group recognition` brings it")
        folder = Path(spec.origin).parent / FOLDERS[package]
        for name, seen in pictures.items():
            parts = {kind: tuple(values) for kind, values in seen.items()}
            yield Picture(name, (folder / name).read_bytes(), **parts)
