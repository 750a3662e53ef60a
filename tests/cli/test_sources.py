"""Where images come from: files, directories, standard input, and all that cannot be read."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from mesh.sources import NoImages, Source, UnreadableFile, sources
from services.errors import ImageTooLarge
from services.limits import MAX_IMAGE_BYTES


def labels(*paths: Path, recursive: bool = False) -> list[str]:
    return [source.label for source in sources([str(path) for path in paths], recursive=recursive)]


def only(path: Path | str) -> Source:
    [source] = sources([str(path)])
    return source


def test_a_directory_gives_its_visible_images_in_order(tmp_path):
    """Image files by extension, in any case, sorted; hidden ones and other files are skipped."""
    for name in ("b.JPG", "a.png", "c.webp", "d.avif", "e.gif", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "f.jpg").mkdir()
    assert [os.path.basename(label) for label in labels(tmp_path)] == [
        "a.png",
        "b.JPG",
        "c.webp",
        "d.avif",
        "e.gif",
    ]


def test_directories_of_directories_only_when_asked(tmp_path):
    """Only `recursive` looks into directories, and never into hidden ones."""
    for folder in ("in", ".git"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").touch()
    (tmp_path / "a.jpg").touch()
    assert labels(tmp_path) == [str(tmp_path / "a.jpg")]
    assert labels(tmp_path, recursive=True) == [
        str(tmp_path / "a.jpg"),
        str(tmp_path / "in" / "x.jpg"),
    ]


def test_a_file_that_is_named_is_taken(tmp_path):
    """A file that is named itself may have any name, and several paths keep their order."""
    (tmp_path / ".hidden").write_bytes(b"one")
    (tmp_path / "a.jpg").write_bytes(b"two")
    found = list(sources([str(tmp_path / ".hidden"), str(tmp_path / "a.jpg")]))
    assert [source.read() for source in found] == [b"one", b"two"]


@pytest.mark.parametrize("recursive", [False, True])
def test_a_directory_without_images_says_so(tmp_path, recursive):
    """A directory without images is one source, which says that there are none."""
    (tmp_path / "notes.txt").touch()
    [source] = sources([str(tmp_path)], recursive=recursive)
    with pytest.raises(NoImages) as failure:
        source.read()
    assert ("--recursive" in failure.value.message) is not recursive


def test_what_is_missing_says_so(tmp_path):
    """A path that does not exist is one source, which says so when it is read."""
    with pytest.raises(UnreadableFile, match="no such file or directory"):
        only(tmp_path / "none.jpg").read()


def test_what_cannot_be_read_says_so(tmp_path):
    """A link to itself, which not even root can read, says so when it is read."""
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(UnreadableFile, match="symbolic links"):
        only(tmp_path / "loop.jpg").read()


def test_a_huge_file_is_not_read(tmp_path):
    """Of a file of a terabyte no more than an image may have is read, and the limit is named."""
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageTooLarge) as failure:
        only(tmp_path / "huge.png").read()
    assert failure.value.limit == f"{MAX_IMAGE_BYTES} bytes"


def test_the_largest_image_is_read(tmp_path):
    """A file of exactly the limit is read whole."""
    (tmp_path / "large.png").write_bytes(bytes(MAX_IMAGE_BYTES))
    assert len(only(tmp_path / "large.png").read()) == MAX_IMAGE_BYTES


def test_standard_input_is_an_image(monkeypatch):
    """A dash is the image on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"image")))
    source = only("-")
    assert (source.label, source.read()) == ("-", b"image")


def test_a_name_that_is_no_text_can_be_printed(tmp_path):
    """A file whose name is not UTF-8 has a label that is, and is read all the same."""
    path = os.path.join(os.fsencode(tmp_path), b"\xff.jpg")
    with open(path, "wb") as file:
        file.write(b"image")
    source = only(os.fsdecode(path))
    assert source.label.endswith("\N{REPLACEMENT CHARACTER}.jpg")
    assert json.dumps(source.label).isascii()
    assert source.read() == b"image"
