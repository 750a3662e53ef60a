"""The models that policies can read."""

from __future__ import annotations

import math

import pytest

from services.catalog import BY_NAME
from services.catalog import MODELS as PROCESSES
from services.moderation.models import MODELS
from visionmesh.detection.v1.detection_pb2 import Detection, DetectionResult
from visionmesh.nsfw.v1.nsfw_pb2 import NsfwResult


def test_reads_models_of_the_catalog():
    """Every model that policies can read is one of the mesh that moderation may call."""
    assert set(MODELS) <= {process.model for process in PROCESSES}
    assert set(MODELS) == set(BY_NAME["moderation"].calls)
    assert all(name == source.name for name, source in MODELS.items())


def test_stored_form_is_the_message():
    """A stored result is the contract's message."""
    stored = NsfwResult(score=0.25).SerializeToString()
    assert MODELS["nsfw"].decode(stored) == NsfwResult(score=0.25)


def test_nothing_found_is_a_result():
    """No objects at all are what detection says of many images, and no bytes say it."""
    assert not MODELS["detection"].decode(b"").ListFields()
    found = DetectionResult(detections=[Detection(label="cat", score=0.5)])
    assert MODELS["detection"].decode(found.SerializeToString()) == found


@pytest.mark.parametrize("score", [math.nan, 1.5, -0.1])
def test_impossible_objects_are_no_result(score: float):
    """A score that none can be is no result, however many others are right."""
    found = [Detection(label="cat", score=0.5), Detection(label="dog", score=score)]
    with pytest.raises(ValueError, match="the score"):
        MODELS["detection"].decode(DetectionResult(detections=found).SerializeToString())


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (b"", "is empty"),
        (b"not protobuf", "parsing"),
        (NsfwResult(score=0.9).SerializeToString()[:-1], "parsing"),
        (NsfwResult(score=math.nan).SerializeToString(), "nan is no probability"),
        (NsfwResult(score=1.5).SerializeToString(), "1.5 is no probability"),
        (NsfwResult(score=-0.1).SerializeToString(), "-0.1 is no probability"),
    ],
)
def test_broken_result_is_no_result(stored: bytes, said: str):
    """Bytes that are cut, empty or impossible do not decode to a harmless score."""
    with pytest.raises(ValueError, match=said):
        MODELS["nsfw"].decode(stored)
