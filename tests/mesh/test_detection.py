"""What a photo shows, through a whole mesh: REST, gRPC, and a policy that reads it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from PIL import Image

from services import errors
from tests.detection.pictures import encoded, photo
from tests.support.mesh import NUDITY_ALONE
from tests.support.whole import World, world
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import DECISION_APPROVED, DECISION_REJECTED

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_CATS = """
description: No cats.
rules:
  - code: CAT
    severity: low
    message: There is a cat.
    when: detection.detections.exists(one, one.label == "cat" && one.score >= 0.4)
    evidence:
      - model: detection
        label: cat
        score: detection.detections.filter(one, one.label == "cat")[0].score
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    policies = tmp_path_factory.mktemp("policies")
    (policies / "default.yaml").write_text((NUDITY_ALONE / "default.yaml").read_text())
    (policies / "no-cats.yaml").write_text(NO_CATS)
    env = {("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(policies)}}
    async with world(tmp_path_factory.mktemp("mesh"), replica_env=env) as running:
        yield running


def rotated(image: Image.Image) -> bytes:
    """The image lying on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    with io.BytesIO() as file:
        image.rotate(90, expand=True).save(file, "JPEG", quality=95, exif=exif)
        return file.getvalue()


async def test_a_cat_is_seen_over_rest_and_grpc(mesh: World):
    """The surest thing on a cat's photo is a cat, with one box over every way in."""
    digest = await mesh.upload(encoded(photo("cat")))
    answer = await mesh.call("GET", f"/v1/images/{digest}/detection")
    assert answer.status == 200
    assert answer.json["image"] == {"width": 451, "height": 300}
    cat = answer.json["detection"]["detections"][0]
    assert cat["label"] == "cat"
    (outcome,) = await mesh.grpc.detect([ImageRef(digest=digest)], min_score=0.4, max_results=1)
    (found,) = outcome.result.detections
    assert (found.label, found.score) == ("cat", cat["score"])
    box = found.box
    assert {"x": box.x, "y": box.y, "width": box.width, "height": box.height} == cat["box"]
    assert (await mesh.counters("detection"))["inferences"] == 1


async def test_boxes_are_pixels_of_the_upright_original(mesh: World):
    """A photo five times as large, lying on its side by its tag, has boxes five times as large."""
    image = photo("cat")
    small = await mesh.upload(encoded(image))
    large = await mesh.upload(rotated(image.resize((image.width * 5, image.height * 5))))
    boxes = []
    for digest in (small, large):
        answer = (await mesh.call("GET", f"/v1/images/{digest}/detection?maxResults=1")).json
        (cat,) = answer["detection"]["detections"]
        assert cat["label"] == "cat"
        boxes.append(cat["box"])
    assert answer["image"] == {"width": 451 * 5, "height": 300 * 5}
    for name, value in boxes[0].items():
        assert boxes[1][name] == pytest.approx(value * 5, abs=150)


async def test_pinned_answer_is_kept_by_envoy(mesh: World):
    """The place of an answer is immutable, and a second look there asks nobody."""
    digest = await mesh.upload(encoded(photo("astronaut")))
    answer = await mesh.call("GET", f"/v1/images/{digest}/detection?minScore=0.5&labels=person,cat")
    place = answer.headers["content-location"]
    assert "labels=cat,person&minScore=0.5&release=" in place
    first = await mesh.call("GET", place)
    before = mesh.requests_to("detection")
    second = await mesh.call("GET", place)
    assert first.body == second.body == answer.body
    assert "immutable" in second.headers["cache-control"]
    assert mesh.requests_to("detection") == before
    assert [one["label"] for one in second.json["detection"]["detections"]] == ["person"]


async def test_unknown_label_is_refused_over_grpc(mesh: World):
    """A kind that the model does not know is refused, naming it and the known ones."""
    with pytest.raises(errors.InvalidArgument) as failure:
        await mesh.grpc.detect([ImageRef(digest="0" * 64)], labels=["gun"])
    assert failure.value.field == "labels"
    assert "'gun'" in failure.value.message
    assert "knife" in failure.value.message


async def test_policy_reads_what_is_seen(mesh: World):
    """A policy over objects rejects the cat with its score, and the astronaut not."""
    cat, astronaut = [await mesh.upload(encoded(photo(name))) for name in ("cat", "astronaut")]
    refs = [ImageRef(digest=digest) for digest in (cat, astronaut)]
    rejected, approved = await mesh.grpc.moderate(refs, "no-cats")
    assert rejected.verdict.decision == DECISION_REJECTED
    (reason,) = rejected.verdict.reasons
    (evidence,) = reason.evidence
    assert (evidence.model, evidence.label) == ("detection", "cat")
    assert evidence.score > 0.4
    assert approved.verdict.decision == DECISION_APPROVED
    assert set(approved.verdict.model_versions) == {"detection"}
