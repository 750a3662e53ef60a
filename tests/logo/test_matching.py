"""Logos in photos: which, where, how sure; and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from services.inference.picture import Picture
from services.logo import gallery, matching, processing, sift
from services.logo.comparison import Comparison
from services.logo.marks import mark_of_picture
from services.logo.types import FeatureParameters, Features, LogoResult, MatchParameters
from tests.logo.drawings import (
    BUILT_IN,
    built_in,
    corners_of,
    encoded,
    gallery_of,
    logo,
    on_white,
    showing,
)

PARAMETERS = FeatureParameters()


def features_of(image: Image.Image) -> tuple[Features, tuple[int, int]]:
    picture = Picture(encoded(image), *image.size)
    grey = processing.prepare(picture, PARAMETERS)[sift.INPUT]
    seen = processing.looked_at(*image.size, PARAMETERS.max_side)
    return sift.detect(grey, PARAMETERS.max_features, PARAMETERS.contrast), seen


def recognized(image: Image.Image, compared: Comparison | None = None) -> LogoResult:
    features, seen = features_of(image)
    compared = compared or Comparison(built_in())
    return matching.recognize(features, compared, seen, image.size, MatchParameters())


@pytest.mark.parametrize("turn", [0, 15, 90, 180, -120])
@pytest.mark.parametrize("side", [90, 180, 300])
def test_corners_are_where_the_logo_is(turn: float, side: int):
    """Turned by any angle, in any size, a logo's corners are found within a few pixels, beginning
    where its upper left one is when it stands upright."""
    found = recognized(showing((logo(1, side), 70, 40, turn)))
    (one,) = found.logos
    assert one.brand == BUILT_IN[1]
    expected = np.clip(corners_of(70, 40, side, turn), 0, [640, 480])
    np.testing.assert_allclose(np.array(one.corners), expected, atol=max(4, 0.04 * side))
    xs, ys = zip(*one.corners, strict=True)
    assert one.x <= min(xs) + 1
    assert one.y <= min(ys) + 1
    assert abs(one.x + one.width - max(xs)) <= 1
    assert abs(one.y + one.height - max(ys)) <= 1


def test_large_originals_have_corners_in_their_own_pixels():
    """What is looked at is smaller than the original; what is answered is in its pixels."""
    image = showing((logo(2, 180), 100, 60, 0)).resize((2560, 1920), Image.Resampling.BICUBIC)
    (one,) = recognized(image).logos
    np.testing.assert_allclose(np.array(one.corners), corners_of(100, 60, 180, 0) * 4, atol=25)


def test_one_brand_in_several_places():
    """A logo that is there three times is found three times, beside another brand's."""
    image = showing(
        (logo(0, 150), 20, 20, 0),
        (logo(0, 130), 300, 40, 25),
        (logo(0, 170), 90, 260, -40),
        (logo(2, 140), 430, 280, 0),
    )
    found = [one.brand for one in recognized(image).logos]
    assert sorted(found) == ["alpha", "alpha", "alpha", "gamma"]


def test_scores_are_sorted_and_within_bounds():
    """The surest comes first; every score is at least that of the least weight."""
    image = showing((logo(0, 220), 20, 20, 0), (logo(1, 70), 400, 100, 0), (logo(2), 350, 210, 0))
    scores = [one.score for one in recognized(image).logos]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= matching.score(MatchParameters().min_weight)
    assert max(scores) <= 1


def test_no_logo_is_found_where_there_is_none():
    """Photos, flat pictures and logos that nobody knows show no brand."""
    for image in (
        *(showing(seed=seed) for seed in range(4)),
        Image.new("RGB", (300, 200), "grey"),
        Image.new("RGB", (1, 1)),
        showing((logo(40, 200), 50, 50, 0)),
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)),
    ):
        assert recognized(image).logos == ()


def test_mirrored_logo_is_none():
    """A logo that is mirrored is another one."""
    mirrored = logo(1, 220).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert recognized(showing((mirrored, 80, 90, 0))).logos == ()


def test_same_features_give_the_same_answer():
    """Matching has no chance in it: twice the same features are twice the same answer."""
    features, seen = features_of(showing((logo(0, 150), 20, 20, 9), (logo(2, 140), 430, 280, 0)))
    compared = Comparison(built_in())
    first, second = (
        matching.recognize(features, compared, seen, (640, 480), MatchParameters()) for _ in "12"
    )
    assert first == second
    assert len(first.logos) == 2


def test_nearest_is_that_of_looking_at_everything():
    """Of the nearest features nearly all are those that comparing with every one finds, in the
    built-in gallery and in a tenant's own together, at the true distances."""
    base = gallery_of({f"brand-{number}": number for number in range(12)})
    own = gallery.build_beside([mark_of_picture("own", np.asarray(on_white(logo(50))))], base)
    compared = Comparison(base, own)
    features, _ = features_of(showing((logo(3, 200), 30, 30, 5), (logo(50, 200), 400, 200, 5)))
    near = compared.nearest(features.descriptors, MatchParameters())
    table = np.concatenate([base.descriptors, own.descriptors]).astype(np.float64)
    hits = 0
    for query, places, distances in zip(
        features.descriptors.astype(np.float64), near.places, near.distances, strict=True
    ):
        everything = np.sqrt(((table - query) ** 2).sum(axis=1))
        np.testing.assert_allclose(distances, everything[places], rtol=1e-4)
        assert (np.diff(distances) >= 0).all()
        hits += everything[places[0]] <= everything.min() + 1e-3
    assert hits > 0.9 * len(features)


def test_places_lead_to_brands_and_marks_of_both_galleries():
    """Features behind the built-in ones are the tenant's; a brand of both is one brand."""
    base = built_in()
    own = gallery.build_beside(
        [
            mark_of_picture(name, np.asarray(on_white(logo(number))))
            for name, number in (("beta", 60), ("zeta", 61))
        ],
        base,
    )
    compared = Comparison(base, own)
    assert compared.brands == ("alpha", "beta", "gamma", "zeta")
    assert [compared.brands[brand] for brand in compared.brand_of] == [*BUILT_IN, "beta", "zeta"]
    assert [compared.is_own(mark) for mark in range(5)] == [False] * 3 + [True] * 2
    places = np.array([[0, len(base) - 1], [len(base), len(base) + len(own) - 1]])
    np.testing.assert_array_equal(compared.marks_at(places), [[0, 2], [3, 4]])
    np.testing.assert_array_equal(compared.points_at(places)[1, 0], own.points[0])
    np.testing.assert_array_equal(compared.descriptors_at(places)[0, 1], base.descriptors[-1])


def test_packed_features_are_the_same_in_any_size():
    """Features come out of the store within a step of a 16-bit number, and of another size of the
    same picture in its pixels."""
    features, seen = features_of(showing((logo(0, 200), 30, 30, 0)))
    packed = processing.pack(features, *seen)
    assert len(packed) == 8 + len(features) * processing.FEATURE_BYTES
    again = processing.unpack(packed, *seen)
    np.testing.assert_allclose(again.points, features.points, atol=0.02)
    np.testing.assert_array_equal(again.descriptors, features.descriptors)
    twice = processing.unpack(packed, seen[0] * 2, seen[1] * 2)
    np.testing.assert_allclose(twice.points[:, :3], again.points[:, :3] * 2, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("damage", ["cut", "longer", "magic", "empty", "count"])
def test_other_bytes_are_no_features(damage: str):
    """Bytes that are cut, longer or something else are refused."""
    features, seen = features_of(showing())
    packed = processing.pack(features, *seen)
    broken = {
        "cut": packed[:-1],
        "longer": packed + b"\0",
        "magic": b"VLf\x02" + packed[4:],
        "empty": b"",
        "count": packed[:4] + b"\xff\xff\xff\xff" + packed[8:],
    }[damage]
    processing.check_packed(packed)
    with pytest.raises(ValueError, match="stored features"):
        processing.check_packed(broken)
