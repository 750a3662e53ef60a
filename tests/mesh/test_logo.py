"""Logos on a photo, through a whole mesh: built-in brands, and one that is registered meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from models import registry
from services.logo.icons import drawings
from services.logo.types import MarkParameters
from tests.detection.pictures import encoded, photo
from tests.logo.drawings import encoded as as_png
from tests.logo.drawings import logo, on_white
from tests.support.whole import World, world
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import DECISION_APPROVED, DECISION_REJECTED

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_BRANDS = """
description: No logos of a competitor.
rules:
  - code: COMPETITOR
    severity: low
    message: There is a logo of a competitor.
    when: logo.logos.exists(one, one.brand == "mine" && one.score >= 0.6)
    evidence:
      - model: logo
        label: mine
        score: logo.logos.filter(one, one.brand == "mine")[0].score
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    policies = tmp_path_factory.mktemp("policies")
    packaged = Path(__file__).parents[2] / "services" / "moderation" / "policies" / "default.yaml"
    (policies / "default.yaml").write_text(packaged.read_text())
    (policies / "no-brands.yaml").write_text(NO_BRANDS)
    env = {("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(policies)}}
    data = tmp_path_factory.mktemp("mesh")
    # Two replicas of the logo service: what one of them is told holds for the other.
    async with world(
        data, tenants=("acme", "globex"), replica_env=env, replicas={"logo": 2}
    ) as running:
        yield running


def drawing(brand: str, side: int) -> Image.Image:
    """A built-in logo as its package has it."""
    icons = registry.path("logo").read_bytes()
    drawn = next(rgba for name, rgba in drawings(icons, MarkParameters(side=side)) if name == brand)
    return Image.fromarray(drawn)


def with_logo(of: Image.Image, left: int, top: int) -> bytes:
    """The astronaut, with a logo on a white card before her."""
    image = photo("astronaut")
    card = on_white(of)
    image.paste(card, (left, top))
    return encoded(image)


async def looked(mesh: World) -> int:
    """How many images the replicas have looked for features in."""
    counters = [await mesh.counters("logo", replica) for replica in (0, 1)]
    return sum(counted.get("inferences", 0) for counted in counters)


async def test_a_built_in_brand_is_recognized_over_rest_and_grpc(mesh: World):
    """A logo on a photo is named and enclosed, the same over every way in."""
    digest = await mesh.upload(with_logo(drawing("firefox", 160), 20, 30))
    answer = await mesh.call("GET", f"/v1/images/{digest}/logo")
    assert answer.status == 200
    found = answer.json["logo"]["logos"][0]
    assert found["brand"] == "firefox"
    assert found["box"]["x"] == pytest.approx(40, abs=8)
    assert found["box"]["width"] == pytest.approx(160, abs=16)
    (outcome,) = await mesh.grpc.recognize([ImageRef(digest=digest)], max_results=1)
    (one,) = outcome.result.logos
    assert (one.brand, one.score) == ("firefox", found["score"])
    corners = [{"x": corner.x, "y": corner.y} for corner in one.corners]
    assert corners == found["corners"]


async def test_a_registered_brand_is_in_every_next_answer(mesh: World):
    """What a tenant registers over REST is recognized in its photos of before, through every
    replica and by a policy, without one more inference; and gone when it is deleted."""
    digest = await mesh.upload(with_logo(logo(7, 170), 250, 40))
    place = f"/v1/images/{digest}/logo"
    before = await mesh.call("GET", place)
    assert before.json["logo"]["logos"] == []
    refs = [ImageRef(digest=digest)]
    (approved,) = await mesh.grpc.moderate(refs, "no-brands")
    assert approved.verdict.decision == DECISION_APPROVED
    inferences = await looked(mesh)

    picture = as_png(on_white(logo(7)), "PNG")
    made = await mesh.call("PUT", "/v1/brands/mine", data=picture, content_type="image/png")
    assert made.status == 201
    answers = [
        await mesh.call("GET", place, if_none_match=before.headers["etag"]) for _ in range(4)
    ]
    assert {answer.status for answer in answers} == {200}
    assert [one["brand"] for one in answers[0].json["logo"]["logos"]] == ["mine"]
    assert len({answer.body for answer in answers}) == 1
    (rejected,) = await mesh.grpc.moderate(refs, "no-brands")
    assert rejected.verdict.decision == DECISION_REJECTED
    assert rejected.verdict.release == answers[0].json["release"]
    assert await looked(mesh) == inferences

    again = await mesh.call("PUT", "/v1/brands/mine", data=picture, content_type="image/png")
    assert (again.status, again.json["code"]) == (409, "BRAND_EXISTS")
    listed = await mesh.call("GET", "/v1/brands?own=true", tenant="globex")
    assert listed.json["brands"] == []
    assert (await mesh.call("DELETE", "/v1/brands/mine")).status == 204
    gone = await mesh.call("GET", place, if_none_match=before.headers["etag"])
    assert gone.status == 304
    pinned = await mesh.call("GET", answers[0].headers["content-location"])
    assert pinned.body == answers[0].body
    assert await looked(mesh) == inferences


async def test_brands_of_a_mesh_come_in_pages(mesh: World):
    """More than 1,500 brands come by name, in as many pages as that takes."""
    names: list[str] = []
    cursor = ""
    while True:
        page = (await mesh.call("GET", f"/v1/brands?{cursor}limit=1000")).json
        names += [brand["name"] for brand in page["brands"]]
        if not page["nextCursor"]:
            break
        cursor = f"cursor={page['nextCursor']}&"
    assert names == sorted(set(names))
    assert len(names) > 1500
    assert np.isin(["adobe", "firefox", "github"], names).all()
