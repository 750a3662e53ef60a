"""`visionmesh moderate --annotate` against a mesh of fakes, over real gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from typer.testing import CliRunner, Result

from mesh.annotations.drawing import COLOURS
from mesh.cli import app
from services import errors
from tests.cli.fakes import FakeMesh, fake_mesh
from tests.support import photos
from visionmesh.common.v1.geometry_pb2 import Box


@pytest.fixture
def mesh() -> Iterator[FakeMesh]:
    """A mesh that sees a cat in every image."""
    with fake_mesh() as mesh:
        box = Box(x=60, y=300, width=200, height=400)
        mesh.detection.seen.detections.add(label="cat", score=0.75, box=box)
        yield mesh


def run(mesh: FakeMesh, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["moderate", "--mesh", mesh.address, *arguments])


def has_box(path: Path, x: int, y: int) -> bool:
    """Whether there is something close to detection's colour around a point of a picture."""
    with Image.open(path) as picture:
        part = np.asarray(picture.convert("RGB").crop((x - 4, y - 4, x + 5, y + 5)), np.int16)
    return bool((abs(part - ImageColor.getrgb(COLOURS["detection"])).max(axis=2) < 40).any())


def test_upright_copies(mesh: FakeMesh, tmp_path: Path):
    """A photo that lies on its side is drawn on as it is seen, and the original stays as it was."""
    lying = photos.lying_down(photos.photo(600, 800), 6)
    original = photos.encode(lying, "JPEG", quality=95, exif=photos.exif(6))
    (tmp_path / "a.jpg").write_bytes(original)
    result = run(mesh, str(tmp_path / "a.jpg"), "--annotate", str(tmp_path / "seen" / "here"))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"1 annotated in {tmp_path}/seen/here"
    copy = tmp_path / "seen" / "here" / "a.jpg"
    with Image.open(copy) as picture:
        assert picture.width == 600
        assert picture.height > 800
        assert not picture.getexif()
    assert has_box(copy, 60, 500)
    assert has_box(copy, 260, 500)
    assert not has_box(copy, 160, 500)
    assert (tmp_path / "a.jpg").read_bytes() == original


def test_every_image_has_a_copy_of_its_own(mesh: FakeMesh, tmp_path: Path):
    """Inputs of one name overwrite neither each other nor an original; JSON says which is whose."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(photos.png(640, 800, seed=len(name)))
    (tmp_path / "one" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "one" / "text.jpg").write_text("no image at all")
    before = (tmp_path / "one" / "a.png").read_bytes()
    folders = [str(tmp_path / name) for name in ("one", "two")]
    result = run(mesh, *folders, "--json", "--annotate", folders[0])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    left = {row["file"]: row.get("annotated") for row in rows}
    assert left == {
        f"{folders[0]}/a.png": f"{folders[0]}/a~2.png",
        f"{folders[0]}/broken.jpg": None,
        f"{folders[0]}/text.jpg": None,
        f"{folders[1]}/a.png": f"{folders[0]}/a-2.png",
    }
    assert [row["error"]["code"] for row in rows[1:3]] == ["CORRUPT_IMAGE", "UNSUPPORTED_FORMAT"]
    assert (tmp_path / "one" / "a.png").read_bytes() == before
    assert all(has_box(Path(path), 60, 500) for path in left.values() if path)
    assert result.exit_code == 2


def test_lost_model_is_left_out(mesh: FakeMesh, tmp_path: Path):
    """Without a model its boxes are not there, and the copy is longer by the line that says so."""
    (tmp_path / "a.png").write_bytes(photos.png(640, 800))
    run(mesh, str(tmp_path / "a.png"), "--annotate", str(tmp_path / "with"))
    mesh.detection.error = errors.Unavailable("down")
    result = run(mesh, str(tmp_path / "a.png"), "--annotate", str(tmp_path / "without"))
    assert result.exit_code == 0
    whole, lacking = (tmp_path / name / "a.png" for name in ("with", "without"))
    assert has_box(whole, 60, 500)
    assert not has_box(lacking, 60, 500)
    with Image.open(whole) as one, Image.open(lacking) as other:
        assert other.height > one.height


def test_folder_that_cannot_be(mesh: FakeMesh, tmp_path: Path):
    """A folder that cannot be made is one line, before anything is uploaded."""
    (tmp_path / "a.png").write_bytes(photos.png(64, 48))
    (tmp_path / "file").touch()
    result = run(mesh, str(tmp_path / "a.png"), "--annotate", str(tmp_path / "file" / "below"))
    assert result.stderr == f"visionmesh: --annotate {tmp_path}/file/below: not a directory\n"
    assert (result.stdout, result.exit_code) == ("", 2)
    assert not mesh.images.stored
