"""What a photo says, through a whole mesh: REST, gRPC, and a policy that reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from tests.detection.pictures import photo
from tests.ocr.pictures import encoded, written
from tests.support.whole import World, world
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import DECISION_APPROVED, DECISION_REJECTED

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_SALES = """
description: Nothing is for sale.
rules:
  - code: SALE
    severity: low
    message: Something is for sale.
    when: ocr.lines.exists(line, line.score >= 0.8 && line.text.matches("(?i)for sale"))
    evidence:
      - model: ocr
        label: text
        score: ocr.lines.filter(line, line.text.matches("(?i)for sale"))[0].score
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    policies = tmp_path_factory.mktemp("policies")
    packaged = Path(__file__).parents[2] / "services" / "moderation" / "policies" / "default.yaml"
    (policies / "default.yaml").write_text(packaged.read_text())
    (policies / "no-sales.yaml").write_text(NO_SALES)
    env = {("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(policies)}}
    async with world(tmp_path_factory.mktemp("mesh"), replica_env=env) as running:
        yield running


def for_sale() -> Image.Image:
    """A photo of a cat with two lines on it."""
    return written("FOR SALE", "Call 555 1234", size=40, image=photo("cat"), ink="white")


async def test_text_is_read_over_rest_and_grpc(mesh: World):
    """The lines on a photo are the same over every way in, read once, with their places."""
    image = for_sale()
    digest = await mesh.upload(encoded(image, "JPEG", quality=95))
    answer = await mesh.call("GET", f"/v1/images/{digest}/ocr")
    assert answer.status == 200
    assert answer.json["image"] == {"width": image.width, "height": image.height}
    assert answer.json["ocr"]["text"] == "FOR SALE\nCall 555 1234"
    first = answer.json["ocr"]["lines"][0]
    (outcome,) = await mesh.grpc.read([ImageRef(digest=digest)], min_score=0.8)
    assert outcome.result.text == answer.json["ocr"]["text"]
    line = outcome.result.lines[0]
    assert (line.text, line.score) == (first["text"], first["score"])
    assert [{"x": one.x, "y": one.y} for one in line.corners] == first["corners"]
    assert (await mesh.counters("ocr"))["inferences"] == 1


async def test_small_print_is_read_from_the_original(mesh: World):
    """What no rendition of 1536 pixels could show is read: six points of a page, on its side."""
    page = Image.new("RGB", (2480, 3508), "white")
    page.paste(written("General terms and conditions", size=25), (300, 3200))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encoded(page.rotate(90, expand=True), "JPEG", quality=90, exif=exif)
    answer = (await mesh.call("GET", f"/v1/images/{await mesh.upload(lying)}/ocr")).json
    assert answer["image"] == {"width": 2480, "height": 3508}
    (line,) = answer["ocr"]["lines"]
    assert line["text"] == "General terms and conditions"
    assert line["box"]["x"] == pytest.approx(325, abs=25)
    assert line["box"]["y"] == pytest.approx(3215, abs=25)


async def test_pinned_answer_is_kept_by_envoy(mesh: World):
    """The place of an answer is immutable, and a second look there asks nobody."""
    digest = await mesh.upload(encoded(written("NO PARKING")))
    answer = await mesh.call("GET", f"/v1/images/{digest}/ocr?minScore=0.5")
    place = answer.headers["content-location"]
    first = await mesh.call("GET", place)
    before = mesh.requests_to("ocr")
    second = await mesh.call("GET", place)
    assert first.body == second.body == answer.body
    assert "immutable" in second.headers["cache-control"]
    assert mesh.requests_to("ocr") == before


async def test_policy_reads_what_is_written(mesh: World):
    """A policy over text rejects the photo that offers something, and not the one without."""
    offered = await mesh.upload(encoded(for_sale(), "JPEG", quality=95))
    plain = await mesh.upload(encoded(photo("cat"), "JPEG", quality=95))
    refs = [ImageRef(digest=digest) for digest in (offered, plain)]
    rejected, approved = await mesh.grpc.moderate(refs, "no-sales")
    assert rejected.verdict.decision == DECISION_REJECTED
    (reason,) = rejected.verdict.reasons
    assert reason.evidence[0].score > 0.8
    assert approved.verdict.decision == DECISION_APPROVED
    assert set(approved.verdict.model_versions) == {"ocr"}
