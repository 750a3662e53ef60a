"""The products of a shop, out of a small JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("products.json")


class InvalidCatalogue(Exception):
    """A file that is no catalogue; the message names it."""


@dataclass(frozen=True)
class Item:
    """One product; `images` are ids of the mesh's images: SHA-256 of their bytes."""

    id: str
    name: str
    price_cents: int
    images: tuple[str, ...]


def read_catalogue(file: Path) -> Mapping[str, Item]:
    """Products by id, in the file's order. Raises InvalidCatalogue, OSError."""
    try:
        items = [
            Item(one["id"], one["name"], int(one["priceCents"]), tuple(one["images"]))
            for one in json.loads(file.read_text("utf-8"))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidCatalogue(f"{file}: {error}") from error
    return {item.id: item for item in items}
