"""The built-in gallery: from icons to a file, and what is made of a file that is not whole."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from models import preparation, registry
from services.errors import ModelFileError
from services.logo import icons, prepared
from services.logo.comparison import Comparison
from services.logo.types import MatchParameters
from tests.logo.drawings import built_in

STAR = '<path fill="#c00" d="M32 2 40 24 62 24 44 38 51 60 32 46 13 60 20 38 2 24 24 24z"/>'
TILES = "".join(
    f'<rect x="{8 * (n % 8)}" y="{8 * (n // 8)}" width="8" height="8" '
    f'fill="#{(n * 2654435761) % 0xFFFFFF:06x}"/>'
    for n in range(64)
)


def package(**named: object) -> bytes:
    return json.dumps({"prefix": "test", "width": 64, "height": 64, "icons": named}).encode()


def test_icons_become_marks_by_brand(tmp_path: Path):
    """Visible icons that can be recognized are kept under their brands; hidden ones, and those
    that show nothing, are not."""
    data = package(
        tiles={"body": TILES},
        **{
            "tiles-icon": {"body": TILES, "width": 128},
            "star-icon": {"body": f'<defs><g id="a">{STAR}</g></defs><use href="#a"/>' + TILES},
            "tiles-old": {"body": TILES, "hidden": True},
            "nothing": {"body": ""},
        },
    )
    prepared.prepare(data, target := tmp_path / "made.gallery")
    made = prepared.load(target)
    assert made.brands == ("star", "tiles")
    assert len(made.brand_of) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["made.gallery"]


@pytest.mark.parametrize(
    ("name", "brand"),
    [
        ("adobe", "adobe"),
        ("adobe-icon", "adobe"),
        ("vite-icon-dark", "vite"),
        ("google-drive-2020", "google-drive"),
        ("code-dark", "code-dark"),
        ("alone-icon", "alone"),
    ],
)
def test_variants_are_marks_of_their_brand(name: str, brand: str):
    """`-icon` is a mark of its brand, `-dark` only where there is the brand without it."""
    names = ["adobe", "adobe-icon", "vite", "vite-icon-dark", "google-drive", "google-drive-2020"]
    assert icons.brands_of([*names, "code-dark", "alone-icon"])[name] == brand


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"icons": 3}', package(bad={"body": "<"})])
def test_other_files_are_no_icons(data: bytes, tmp_path: Path):
    """What is not in Iconify's format, or no SVG, is said to be so, and leaves nothing."""
    with pytest.raises(ModelFileError):
        prepared.prepare(data, tmp_path / "made.gallery")
    assert list(tmp_path.iterdir()) == []


def test_kept_gallery_is_the_same(tmp_path: Path):
    """A gallery that was kept finds what the one that was made finds."""
    prepared.keep(built_in(), file := tmp_path / "kept.gallery")
    again = prepared.load(file)
    assert again.brands == built_in().brands
    np.testing.assert_array_equal(again.descriptors, built_in().descriptors)
    queries = built_in().descriptors[::7]
    one, other = (
        Comparison(found).nearest(queries, MatchParameters()) for found in (built_in(), again)
    )
    np.testing.assert_array_equal(one.places, other.places)
    np.testing.assert_array_equal(one.distances, other.distances)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "empty"])
def test_damaged_gallery_says_which_command_makes_it(tmp_path: Path, damage: str):
    """A gallery that is missing or not whole is not loaded, and it is said how to have it."""
    file = tmp_path / "kept.gallery"
    prepared.keep(built_in(), file)
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        changed = whole[:-1] + bytes([whole[-1] ^ 1])
        file.write_bytes({"cut": whole[:-1], "changed": changed, "empty": b""}[damage])
    with pytest.raises(ModelFileError, match="visionmesh models fetch"):
        prepared.load(file)


def test_shipped_gallery_is_prepared():
    """After setup the gallery of the registered icons is there, whole, and loads at once."""
    entry = registry.find("logo")
    assert preparation.problem(entry) == ""
    assert not preparation.prepare(entry)
    begun = time.process_time()
    found = prepared.load(preparation.path(entry))
    assert time.process_time() - begun < 2
    assert len(found.brands) > 1500
    assert {"adobe", "github", "google"} <= set(found.brands)


def test_name_says_what_it_was_made_of():
    """Other icons are another recipe, and another file."""
    one, other = (prepared.filename(digit * 64) for digit in "01")
    assert one != other
    assert prepared.recipe("0" * 64) == prepared.recipe("0" * 64)
