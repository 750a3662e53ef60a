"""Pictures of what was seen: what is drawn where, under which name, and what stands below."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from mesh.annotations.drawing import COLOURS, EVIDENCE, MAX_SIDE, Annotations, draw, scale_of
from mesh.annotations.files import names_of, save
from mesh.annotations.layout import Layout, overlap
from mesh.annotations.places import Place, places_of
from mesh.annotations.strip import DECISIONS, GROUND, Strip, wrapped
from mesh.annotations.typeface import Typeface
from services.errors import ModelUnavailable
from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.detection.v1.detection_pb2 import Detection, DetectionResult
from visionmesh.logo.v1.logo_pb2 import Logo, LogoResult
from visionmesh.moderation.v1 import moderation_pb2 as pb
from visionmesh.ocr.v1.ocr_pb2 import OcrResult, TextLine

BOX = Box(x=200, y=150, width=300, height=200)
CAT = DetectionResult(detections=[Detection(label="cat", score=0.75, box=BOX)])
APPROVED = pb.Verdict(policy="default", decision=pb.DECISION_APPROVED)
TYPEFACE = Typeface()


def rejected(*evidence: pb.Evidence) -> pb.Verdict:
    reason = pb.Reason(
        code="CATS", severity=pb.SEVERITY_HIGH, message="No cats here.", evidence=evidence
    )
    return pb.Verdict(policy="default", decision=pb.DECISION_REJECTED, reasons=[reason])


def drawn(
    size: tuple[int, int],
    results: dict[str, Any],
    verdict: pb.Verdict = APPROVED,
    failures: dict[str, Any] | None = None,
) -> Image.Image:
    """A grey picture of a size with what was seen in it."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    strip = Strip(verdict, dict.fromkeys(results, 1), failures or {})
    return draw(pixels, Annotations(places_of(results, verdict), strip), TYPEFACE)


def has(picture: Image.Image, colour: str, where: tuple[int, int, int, int]) -> bool:
    """Whether any pixel of a part of a picture has a colour."""
    part = np.asarray(picture.crop(where))
    return bool((part == ImageColor.getrgb(colour)).all(axis=2).any())


def around(x: float, y: float, by: int = 3) -> tuple[int, int, int, int]:
    return round(x) - by, round(y) - by, round(x) + by + 1, round(y) + by + 1


@pytest.mark.parametrize("size", [(640, 480), (200, 150), (6000, 4500), (900, 1600)], ids=str)
def test_box_is_where_it_was_seen(size: tuple[int, int]):
    """The border of a box has its model's colour, in pictures that are enlarged or reduced too."""
    width, height = size
    box = Box(x=width // 4, y=height // 4, width=width // 2, height=height // 2)
    seen = DetectionResult(detections=[Detection(label="cat", score=0.75, box=box)])
    picture = drawn(size, {"detection": seen})
    scale = scale_of(size)
    for x, y in ((0.25, 0.5), (0.75, 0.5), (0.5, 0.75)):
        assert has(picture, COLOURS["detection"], around(x * width * scale, y * height * scale))
    middle = (round(width * scale / 2), round(height * scale / 2))
    assert picture.getpixel(middle) == (128, 128, 128)
    assert max(width, height) * scale <= MAX_SIDE


def test_label_is_above_what_it_names():
    """With room above it, a label stands there: in its model's colour, with white letters."""
    picture = drawn((640, 480), {"detection": CAT})
    label = (BOX.x, BOX.y - 12, BOX.x + 60, BOX.y - 3)
    assert has(picture, COLOURS["detection"], label)
    assert has(picture, "white", label)


def test_each_model_has_its_colour():
    """Lines of text and logos are drawn along their own corners, not along upright boxes."""
    corners = [Point(x=100, y=140), Point(x=300, y=100), Point(x=310, y=150), Point(x=110, y=190)]
    box = Box(x=100, y=100, width=210, height=90)
    results = {
        "ocr": OcrResult(lines=[TextLine(text="SALE", score=0.9, box=box, corners=corners)]),
        "logo": LogoResult(logos=[Logo(brand="adobe", score=0.8, box=BOX)]),
    }
    picture = drawn((640, 480), results)
    assert has(picture, COLOURS["ocr"], around(200, 120))
    assert not has(picture, COLOURS["ocr"], around(308, 186))
    assert has(picture, COLOURS["logo"], around(BOX.x, BOX.y + 100))


def test_evidence_stands_out():
    """What a verdict rests on has a colour of its own, and names the reason."""
    evidence = pb.Evidence(model="detection", label="cat", score=0.75, box=BOX)
    picture = drawn((640, 480), {"detection": CAT}, rejected(evidence))
    assert has(picture, EVIDENCE, around(BOX.x, BOX.y + 100))
    [place] = places_of({"detection": CAT}, rejected(evidence, evidence))
    assert (place.label, place.reasons) == ("cat 0.75", ("CATS",))


def test_evidence_without_a_result_is_drawn_too():
    """What a model saw too unsurely to be listed is drawn when the verdict rests on it."""
    evidence = pb.Evidence(model="detection", label="cat", score=0.3, box=BOX)
    empty = {"detection": DetectionResult()}
    assert [place.label for place in places_of(empty, rejected(evidence))] == ["cat 0.30"]
    nowhere = pb.Evidence(model="nsfw", label="nsfw", score=0.97)
    assert places_of(empty, rejected(nowhere)) == []


def test_strip_below_the_picture():
    """The decision stands below the picture in its colour, and every line makes it longer."""
    without = drawn((640, 480), {})
    assert (without.width, without.crop((0, 0, 640, 480)).getcolors()) == (
        640,
        [(307200, (128,) * 3)],
    )
    below = (0, 480, 640, without.height)
    assert has(without, DECISIONS["APPROVED"], below)
    assert has(without, GROUND, below)
    reasoned = drawn((640, 480), {}, rejected())
    assert has(reasoned, DECISIONS["REJECTED"], (0, 480, 640, reasoned.height))
    assert reasoned.height > without.height


def test_strip_says_why_and_what_is_missing():
    """Reasons come with severity and score, and models without an answer with why."""
    verdict = rejected(pb.Evidence(model="nsfw", label="nsfw", score=0.97))
    verdict.missing.append("ocr")
    verdict.unknown_codes.append("CONTACT_DETAILS")
    strip = Strip(verdict, {}, {"ocr": ModelUnavailable("model 'ocr' is not available")})
    assert [text for _, text in strip.lines] == [
        "HIGH CATS (nsfw 0.97): No cats here.",
        "judged without ocr; unknown: CONTACT_DETAILS",
        "no ocr: model 'ocr' is not available (MODEL_UNAVAILABLE)",
    ]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (40, 400)], ids=str)
def test_thin_pictures_have_a_legible_strip(size: tuple[int, int]):
    """However thin a picture is, its strip is wide enough to be read."""
    one = Box(x=0, y=0, width=1, height=1)
    seen = DetectionResult(detections=[Detection(label="cat", score=0.75, box=one)])
    picture = drawn(size, {"detection": seen}, rejected())
    assert picture.width >= 300


def test_labels_keep_off_each_other():
    """Where there is room labels do not overlap, and none leaves the picture."""
    places = [(40 * n, 100 + 30 * n, 400 + 20 * n, 500 + 10 * n) for n in range(12)]
    layout = Layout((800, 640), places)
    spots = [layout.put((120, 20), place) for place in places]
    assert all(overlap(one, other) == 0 for one, other in itertools.combinations(spots, 2))
    for left, upper, right, lower in spots:
        assert left >= 0 and upper >= 0 and right <= 800 and lower <= 640  # noqa: PT018


def test_text_is_wrapped_to_its_width():
    """No row is wider than it may be, and no letter is lost, of words that are too long either."""
    font = TYPEFACE.at(16)
    text = "a short start and then " + "anendlessword" * 20
    rows = wrapped(text, font, 200)
    assert all(font.getlength(row) <= 200 for row in rows)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")


def test_names_do_not_clash():
    """Inputs of one name have one each, whichever case they are in."""
    labels = ["a/x.jpg", "b/x.png", "c/X.jpg", "x-2.gif", "-", "stdin.png", ".hidden.jpg"]
    names = names_of(labels)
    assert names[:2] == ["x", "x-2"]
    assert len({name.casefold() for name in names}) == len(labels)


@pytest.mark.parametrize("links", [True, False])
def test_never_in_the_place_of_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    """A file that is there stays as it is, the picture gets another name, nothing else is left."""
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError("no hard links on this file system")

        monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a.png").write_text("mine")
    picture = Image.new("RGB", (8, 8), "red")
    paths = [save(picture, tmp_path, "a", lossless=True) for _ in range(2)]
    assert [path.name for path in paths] == ["a~2.png", "a~3.png"]
    assert (tmp_path / "a.png").read_text() == "mine"
    assert Image.open(paths[1]).getpixel((0, 0)) == (255, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a~2.png", "a~3.png"]


def test_label_without_a_place_of_a_model_that_is_not_known():
    """Evidence of a model that pictures know nothing of is drawn like any other."""
    place = Place("weather", "rain", ((10, 10), (90, 10), (90, 90), (10, 90)), ("RAIN",))
    strip = Strip(APPROVED, {}, {})
    pixels = np.full((480, 640, 3), 128, np.uint8)
    picture = draw(pixels, Annotations([place], strip), TYPEFACE)
    assert has(picture, EVIDENCE, around(10, 50))
