"""What subgraphs answer: one call a model, and every image and every model fails on its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import aiohttp
import pytest

from federation import subgraphs
from federation.subgraphs.representation import representation
from services import errors
from services.limits import MAX_BATCH_IMAGES
from tests.federation.world import World, digest_of, world
from tests.support.photos import jpeg
from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.detection.v1.detection_pb2 import Detection
from visionmesh.logo.v1.logo_pb2 import Logo
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.ocr.v1.ocr_pb2 import TextLine

UNKNOWN = "f" * 64


async def test_a_hundred_images_are_one_call_a_model(graph: World):
    """However many entities a request has, each model is asked once."""
    ids = await graph.stored(100)
    for subgraph, selection in {
        "nsfw": "id nsfw { score }",
        "detection": "id detection { detections { label } }",
        "moderation": "id moderation { isCompliant }",
    }.items():
        answer = await graph.entities(subgraph, selection, ids)
        assert answer.codes == []
        assert [one["id"] for one in answer.json["data"]["_entities"]] == ids
    calls = (graph.nsfw.calls, graph.detection.calls, graph.moderation.calls)
    assert [[len(call.images) for call in made] for made in calls] == [[100], [100], [100]]


async def test_an_answer_says_which_code_wrote_it(graph: World):
    """Each subgraph says the same, and so does what is asked before a tag is believed."""
    ids = await graph.stored(1)
    answers = [
        await graph.entities("nsfw", "nsfw { score }", ids),
        await graph.ask("images", f'{{ image(id: "{ids[0]}") {{ width }} }}'),
        await graph.post("images/standing", {"ids": ids}),
    ]
    told = {answer.headers["x-visionmesh-representation"] for answer in answers}
    assert told == {representation()}
    unmade = await graph.post("images", {})
    assert "x-visionmesh-representation" not in unmade.headers


def test_other_code_is_another_representation(tmp_path: Path):
    """A change of any file of the subgraphs is seen, and where the files are is not."""
    folder = tmp_path / "subgraphs"
    shutil.copytree(Path(subgraphs.__file__).parent, folder)
    assert representation(folder) == representation()
    for file in folder.glob("*.py"):
        before = file.read_text()
        file.write_text(f"{before}\n")
        assert representation(folder) != representation()
        file.write_text(before)
    assert representation(folder) == representation()


async def test_an_image_twice_is_asked_for_once(graph: World):
    """The same id in several places of a request is one reference of the call."""
    await graph.entities("nsfw", "nsfw { score }", [UNKNOWN] * 3)
    (call,) = graph.nsfw.calls
    assert [image.digest for image in call.images] == [UNKNOWN]


async def test_arguments_choose_from_one_result(graph: World):
    """Two aliases with different arguments cost one call, and get what they ask for each."""
    for label, score in (("cat", 0.9), ("dog", 0.6), ("cat", 0.2)):
        box = Box(x=1, y=2, width=3, height=4)
        graph.detection.seen.detections.append(Detection(label=label, score=score, box=box))
    answer = await graph.entities(
        "detection",
        """
        usual: detection { detections { label score box { x y width height } } }
        cats: detection(minScore: 0, labels: ["cat"]) { detections { label score } }
        best: detection(first: 1) { detections { label } model { name version } }
        """,
        [UNKNOWN],
    )
    (image,) = answer.json["data"]["_entities"]
    assert len(graph.detection.calls) == 1
    assert [one["label"] for one in image["usual"]["detections"]] == ["cat", "dog"]
    assert image["usual"]["detections"][0]["box"] == {"x": 1, "y": 2, "width": 3, "height": 4}
    assert [one["score"] for one in image["cats"]["detections"]] == [0.9, 0.2]
    assert image["best"] == {
        "detections": [{"label": "cat"}],
        "model": {"name": "detection", "version": graph.detection.version},
    }


async def test_text_and_logos_have_their_places(graph: World):
    """Lines and logos come with score, box and corners; unsure logos only when asked for."""
    corners = [Point(x=x, y=y) for x, y in ((0, 0), (9, 0), (9, 4), (0, 4))]
    box = Box(x=0, y=0, width=9, height=4)
    graph.ocr.seen.lines.append(TextLine(text="SALE", score=0.9, box=box, corners=corners))
    graph.ocr.seen.lines.append(TextLine(text="faint", score=0.2, box=box, corners=corners))
    for brand, score in (("adobe", 0.8), ("faint", 0.7)):
        graph.logo.seen.logos.append(Logo(brand=brand, score=score, box=box, corners=corners))
    text = await graph.entities(
        "ocr", "ocr(minScore: 0.5) { text lines { text corners { x y } } }", [UNKNOWN]
    )
    logos = await graph.entities("logo", "logo { logos { brand score box { width } } }", [UNKNOWN])
    assert text.json["data"]["_entities"][0]["ocr"] == {
        "text": "SALE",
        "lines": [
            {
                "text": "SALE",
                "corners": [{"x": corner.x, "y": corner.y} for corner in corners],
            }
        ],
    }
    assert logos.json["data"]["_entities"][0]["logo"]["logos"] == [
        {"brand": "adobe", "score": 0.8, "box": {"width": 9}}
    ]


async def test_a_lost_model_is_a_null_field_with_an_error(graph: World):
    """A model that fails as a whole nulls its field of every image, with path and code."""
    graph.detection.error = errors.Overloaded("too much at once")
    answer = await graph.entities("detection", "id detection { detections { label } }", [UNKNOWN])
    assert answer.status == 200
    assert answer.json["data"] == {"_entities": [{"id": UNKNOWN, "detection": None}]}
    (error,) = answer.json["errors"]
    assert error["path"] == ["_entities", 0, "detection"]
    assert error["message"] == "too much at once"
    assert error["extensions"]["code"] == "OVERLOADED"
    assert len(error["extensions"]["traceId"]) == 32
    assert answer.headers["Cache-Control"] == "no-store"
    assert "x-visionmesh-release" not in answer.headers


async def test_internals_are_not_told(graph: World):
    """What no client is meant to hear becomes `internal error`, wherever it came from."""
    graph.detection.error = RuntimeError("secret path /srv")
    answer = await graph.entities("detection", "detection { model { name } }", [UNKNOWN])
    assert answer.codes == ["INTERNAL"]
    assert "secret" not in str(answer.json)


async def test_bad_ids_among_good_ones_fail_alone(graph: World):
    """A malformed id, and an image that a model cannot look at, null their own place only."""
    (good,) = await graph.stored(1)
    graph.nsfw.errors[UNKNOWN] = errors.ImageNotFound(f"there is no image {UNKNOWN}")
    answer = await graph.entities("nsfw", "id nsfw { score }", ["nonsense", good, UNKNOWN])
    assert answer.json["data"]["_entities"] == [
        None,
        {"id": good, "nsfw": {"score": 0.0}},
        {"id": UNKNOWN, "nsfw": None},
    ]
    places = {tuple(error["path"]): error["extensions"]["code"] for error in answer.json["errors"]}
    assert places == {
        ("_entities", 0): "INVALID_ARGUMENT",
        ("_entities", 2, "nsfw"): "IMAGE_NOT_FOUND",
    }


async def test_images_are_described(graph: World):
    """What is stored of an image is there under REST's names; what is not there is null."""
    (good,) = await graph.stored(1)
    answer = await graph.ask(
        "images",
        "query ($ids: [ID!]!) { images(ids: $ids) { id mediaType width height frames } }",
        ids=[good, UNKNOWN, "nonsense"],
    )
    assert answer.json["data"]["images"] == [
        {"id": good, "mediaType": "image/jpeg", "width": 8, "height": 8, "frames": 1},
        None,
        None,
    ]
    assert answer.codes == ["IMAGE_NOT_FOUND", "INVALID_ARGUMENT"]


async def test_too_many_images_are_refused(graph: World):
    """One field takes 128 ids, and names its limit to who wants more."""
    ids = [f"{number:064x}" for number in range(MAX_BATCH_IMAGES + 1)]
    query = "query ($ids: [ID!]!) { images(ids: $ids) { id } }"
    answer = await graph.ask("images", query, ids=ids)
    assert answer.json["data"] == {"images": None}
    extensions = answer.json["errors"][0]["extensions"]
    assert (extensions["code"], extensions["field"], extensions["limit"]) == (
        "INVALID_ARGUMENT",
        "ids",
        "128",
    )
    many = await graph.entities("nsfw", "id", [UNKNOWN] * 513)
    assert many.json["data"] is None
    assert many.json["errors"][0]["extensions"]["field"] == "representations"


async def test_more_images_than_a_call_takes_are_several_calls(graph: World):
    """Other teams' subgraphs may bring more images than one call takes."""
    ids = [f"{number:064x}" for number in range(MAX_BATCH_IMAGES + 2)]
    answer = await graph.entities("nsfw", "nsfw { score }", ids)
    assert answer.codes == []
    assert sorted(len(call.images) for call in graph.nsfw.calls) == [2, MAX_BATCH_IMAGES]


async def test_a_verdict_has_reasons_and_says_what_is_missing(graph: World):
    """A verdict's parts have REST's names; `first` cuts the reasons."""
    verdict = graph.moderation.verdict
    verdict.decision = moderation_pb2.DECISION_REJECTED
    verdict.missing.append("ocr")
    for code in ("WEAPON", "NUDITY"):
        reason = verdict.reasons.add(code=code, severity=moderation_pb2.SEVERITY_HIGH, message="No")
        reason.evidence.add(model="detection", label="knife", score=0.5)
    answer = await graph.entities(
        "moderation",
        """
        moderation {
          isCompliant decision missing release policy { name }
          rejectionReasons(first: 1) { code severity evidence { model label score box { x } } }
        }
        """,
        [UNKNOWN],
    )
    assert answer.json["data"]["_entities"][0]["moderation"] == {
        "isCompliant": False,
        "decision": "REJECTED",
        "missing": ["ocr"],
        "release": verdict.release,
        "policy": {"name": "default"},
        "rejectionReasons": [
            {
                "code": "WEAPON",
                "severity": "HIGH",
                "evidence": [{"model": "detection", "label": "knife", "score": 0.5, "box": None}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("decision", "compliant"),
    [
        (moderation_pb2.DECISION_APPROVED, True),
        (moderation_pb2.DECISION_REJECTED, False),
        (moderation_pb2.DECISION_UNDETERMINED, None),
        (moderation_pb2.DECISION_UNSPECIFIED, None),
    ],
)
async def test_compliance_fails_closed(graph: World, decision: int, compliant: bool | None):
    """Only an approval is compliant, and what is not determined is neither."""
    graph.moderation.verdict.decision = decision  # type: ignore[assignment]
    answer = await graph.entities("moderation", "moderation { isCompliant }", [UNKNOWN])
    assert answer.json["data"]["_entities"][0]["moderation"]["isCompliant"] is compliant


async def test_two_policies_are_two_calls(graph: World):
    """Each policy that a request names is asked once, and not more of them than the limit."""
    aliases = " ".join(f'p{n}: moderation(policy: "p{n}") {{ decision }}' for n in range(9))
    answer = await graph.entities("moderation", aliases, [UNKNOWN])
    assert len(graph.moderation.calls) == 8
    assert answer.codes == ["INVALID_ARGUMENT"]


async def test_arguments_out_of_range_name_the_field(graph: World):
    """A score that is none, a negative count and an unknown label are refused by name."""
    for arguments, field in (
        ("minScore: 2", "minScore"),
        ("first: -1", "first"),
        ('labels: ["unicorn"]', "labels"),
        (f"labels: {json.dumps(['cat'] * 101)}", "labels"),
    ):
        selection = f"detection({arguments}) {{ model {{ name }} }}"
        answer = await graph.entities("detection", selection, [UNKNOWN])
        assert answer.json["errors"][0]["extensions"]["field"] == field
    assert graph.detection.calls == []


async def test_documents_that_are_wrong_have_codes(graph: World):
    """Syntax, unknown fields and wrong variables are told apart."""
    syntax = await graph.ask("images", "{ image(")
    unknown = await graph.ask("images", "{ nothing }")
    variable = await graph.ask("images", "query ($id: ID!) { image(id: $id) { id } }", id=[1])
    assert syntax.codes == ["GRAPHQL_PARSE_FAILED"]
    assert unknown.codes == ["GRAPHQL_VALIDATION_FAILED"]
    assert variable.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"no json", "body"),
        (b"[]", "body"),
        (b"{}", "query"),
        (b'{"query": "{ __typename }", "variables": 3}', "variables"),
        (b'{"query": "{ __typename }", "operationName": 3}', "operationName"),
    ],
)
async def test_requests_that_are_none_are_refused(graph: World, body: bytes, field: str):
    """What is no GraphQL request is a 400 that names what is wrong."""
    answer = await graph.post("images", body)
    assert answer.status == 400
    assert answer.json["errors"][0]["extensions"]["field"] == field


async def test_an_image_is_uploaded_and_deleted(graph: World):
    """A file goes in through a form, durably, and out again."""
    data = jpeg(16, 16, seed=1)
    form = aiohttp.FormData()
    query = "mutation ($f: Upload!) { uploadImage(file: $f) { created image { id width } } }"
    form.add_field("operations", f'{{"query": "{query}", "variables": {{"f": null}}}}')
    form.add_field("map", '{"0": ["variables.f"]}')
    form.add_field("0", data, filename="a.jpg")
    uploaded = await graph.post("images", form)
    assert uploaded.json["data"]["uploadImage"] == {
        "created": True,
        "image": {"id": digest_of(data), "width": 16},
    }
    deletion = "mutation ($id: ID!) { deleteImage(id: $id) }"
    deleted = await graph.ask("images", deletion, id=digest_of(data))
    again = await graph.ask("images", deletion, id=digest_of(data))
    assert deleted.json["data"] == {"deleteImage": digest_of(data)}
    assert again.codes == ["IMAGE_NOT_FOUND"]


async def test_an_upload_that_is_no_image_is_refused(graph: World):
    """What is no image is an error with the format's code, and nothing is stored."""
    form = aiohttp.FormData()
    query = "mutation ($f: Upload!) { uploadImage(file: $f) { created } }"
    form.add_field("operations", f'{{"query": "{query}", "variables": {{"f": null}}}}')
    form.add_field("map", '{"0": ["variables.f"]}')
    form.add_field("0", b"just text", filename="a.jpg")
    answer = await graph.post("images", form)
    assert answer.json["data"] == {"uploadImage": None}
    assert answer.codes == ["UNSUPPORTED_FORMAT"]


async def test_only_envoy_says_for_whom_it_is(tmp_path: Path):
    """With a token, a request without it is refused, and one with it is for its tenant."""
    async with world(tmp_path, token="t" * 32) as graph:
        stranger = await graph.entities("nsfw", "nsfw { score }", [UNKNOWN])
        known = {"x-visionmesh-token": "t" * 32, "x-visionmesh-tenant": "acme"}
        answer = await graph.entities("nsfw", "nsfw { score }", [UNKNOWN], known)
    assert stranger.codes == ["UNAUTHENTICATED"]
    assert answer.codes == []
    assert graph.nsfw.metadata[-1]["x-visionmesh-tenant"] == "acme"
