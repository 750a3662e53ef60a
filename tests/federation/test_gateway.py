"""The gateway over all subgraphs: what fails nulls its own place, and what is known is kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import web

from federation.documents.manifest import FOLDER as DOCUMENTS
from federation.supergraph.compose import FOLDER as SUPERGRAPH
from services import errors
from services.limits import MAX_UPLOAD_BYTES
from tests.federation.gateway import MAIN, NODE, PATIENCE_S, Answer, Gateway, gateway
from tests.federation.world import World, digest_of, world
from tests.support.photos import jpeg
from tests.support.whole import until

UNKNOWN = "f" * 64
SCORES = "query ($id: ID!) { image(id: $id) { width nsfw { score } } }"
PAGE = (
    "query ($ids: [ID!]!) { images(ids: $ids) { id nsfw { score } detection { model { name } } } }"
)
FORM_HEADERS = {"apollo-require-preflight": "true"}


async def test_a_page_of_images_is_one_call_a_model(graph: World, front: Gateway):
    """However many images a query names, each subgraph and each model is asked once."""
    ids = await graph.stored(20)
    answer = await front.ask(PAGE, ids=ids)
    assert answer.codes == []
    assert [image["id"] for image in answer.json["data"]["images"]] == ids
    assert [len(call.images) for call in graph.nsfw.calls] == [20]
    assert [len(call.images) for call in graph.detection.calls] == [20]


async def test_a_lost_model_is_null_at_its_places(graph: World, front: Gateway):
    """A model's failure nulls its field of every image, with path and code; the rest is there."""
    ids = await graph.stored(2)
    graph.detection.error = errors.ModelUnavailable("detection is not there")
    answer = await front.ask(PAGE, ids=ids)
    assert answer.status == 200
    assert [image["nsfw"] for image in answer.json["data"]["images"]] == [{"score": 0.0}] * 2
    assert [image["detection"] for image in answer.json["data"]["images"]] == [None, None]
    assert answer.places == {
        ("images", index, "detection"): "MODEL_UNAVAILABLE" for index in range(2)
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


async def test_codes_and_fields_pass_and_internals_do_not(graph: World, front: Gateway):
    """A subgraph's code, field and limit reach the client; what was unexpected is masked."""
    (image,) = await graph.stored(1)
    graph.detection.error = RuntimeError("secret path /srv")
    answer = await front.ask(
        "query ($id: ID!) { image(id: $id) { nsfw { score } a: detection(minScore: 2) "
        "{ model { name } } b: detection { model { name } } } }",
        id=image,
    )
    assert answer.places == {("image", "a"): "INVALID_ARGUMENT", ("image", "b"): "INTERNAL"}
    first, second = sorted(answer.json["errors"], key=lambda error: error["path"])
    assert (first["extensions"]["field"], first["extensions"]["limit"]) == ("minScore", "1")
    assert second["message"] == "internal error"
    assert len(second["extensions"]["traceId"]) == 32
    assert "secret" not in answer.text


async def _broken(kind: str) -> web.Application:
    """Subgraphs of which images works and nsfw does not."""

    async def images(request: web.Request) -> web.Response:
        content = {"data": {"image": {"__typename": "Image", "id": UNKNOWN, "width": 8}}}
        return web.json_response(content, headers={"x-visionmesh-release": "a" * 16})

    async def nsfw(request: web.Request) -> web.StreamResponse:
        if kind == "late":
            await asyncio.Event().wait()
        if kind == "dead":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=500, text="<html>Traceback /srv/secret</html>")

    app = web.Application()
    app.router.add_post("/images", images)
    app.router.add_post("/nsfw", nsfw)
    return app


@pytest.mark.parametrize(
    ("kind", "code"),
    [("late", "DEADLINE_EXCEEDED"), ("dead", "MODEL_UNAVAILABLE"), ("ill", "MODEL_UNAVAILABLE")],
)
async def test_a_subgraph_without_an_answer_is_one_null_field(kind: str, code: str):
    """A subgraph that hangs, hangs up or answers nonsense nulls its field, and leaks nothing."""
    runner = web.AppRunner(await _broken(kind), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with gateway(url, VISIONMESH_SUBGRAPH_TIMEOUTS_MS="*=5000,nsfw=300") as front:
            answer = await front.ask(SCORES, id=UNKNOWN)
            assert answer.json["data"] == {"image": {"width": 8, "nsfw": None}}
            assert answer.places == {("image", "nsfw"): code}
            assert answer.headers["Cache-Control"] == "no-store"
            assert "secret" not in answer.text
            assert "127.0.0.1" not in answer.text
    finally:
        await runner.cleanup()


async def test_a_client_may_ask_for_less_time(graph: World, front: Gateway):
    """The deadline is a header's, and one that is none is refused with its limit."""
    answer = await front.ask(SCORES, {"x-request-timeout-ms": "0"}, id=UNKNOWN)
    assert answer.status == 400
    extensions = answer.json["errors"][0]["extensions"]
    assert (extensions["field"], extensions["limit"]) == ("x-request-timeout-ms", "60000 ms")


async def test_no_subgraph_at_all_is_one_error(unused_tcp_port: int):
    """Without any subgraph the root field is null, and the gateway is alive and not ready."""
    async with gateway(f"http://127.0.0.1:{unused_tcp_port}") as front:
        answer = await front.ask(SCORES, id=UNKNOWN)
        assert (await front.send("GET", "/healthz")).status == 200
        assert (await front.send("GET", "/readyz")).status == 503
    assert answer.json["data"] == {"image": None}
    assert answer.places == {("image",): "UNAVAILABLE"}


ALIASES = (
    "query ($id: ID!) { " + " ".join(f"a{n}: image(id: $id) {{ id }}" for n in range(51)) + " }"
)
INTO = "query ($ids: [ID!]!) { images(ids: $ids) { ...A } } fragment A on Image { "
DEAR = (
    INTO
    + " ".join(
        f"m{n}: ocr {{ lines {{ corners {{ x y }} box {{ x y width height }} }} }}"
        for n in range(12)
    )
    + " }"
)


@pytest.mark.parametrize(
    ("query", "variables", "field"),
    [
        ("{ models { " + "name " * 2000 + "} }", {}, "tokens"),
        (ALIASES, {"id": UNKNOWN}, "aliases"),
        (PAGE, {"ids": [UNKNOWN] * 129}, "ids"),
        (DEAR, {"ids": [UNKNOWN] * 128}, "cost"),
    ],
)
async def test_limits_are_named(front: Gateway, query: str, variables: Any, field: str):
    """What is too long, wide, many or dear is refused with the limit, and nobody is asked."""
    answer = await front.ask(query, **variables)
    assert answer.status == 400
    assert answer.codes == ["LIMIT_EXCEEDED"]
    extensions = answer.json["errors"][0]["extensions"]
    assert extensions["field"] == field
    assert extensions["limit"] in answer.json["errors"][0]["message"]


async def test_the_dearest_page_within_limits_is_answered(graph: World, front: Gateway):
    """Everything about 128 images is no attack."""
    ids = await graph.stored(2) + [f"{n:064x}" for n in range(126)]
    everything = (
        "query ($ids: [ID!]!) { images(ids: $ids) { id width nsfw { score } "
        "detection { detections { label score box { x y width height } } } "
        "ocr { text lines { text score corners { x y } box { x y width height } } } "
        "moderation { isCompliant rejectionReasons(first: 3) { code evidence { label } } } } }"
    )
    answer = await front.ask(everything, ids=ids)
    assert answer.status == 200
    assert answer.json["data"]["images"][0]["nsfw"] == {"score": 0.0}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": "{"}, 400, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nope }"}, 400, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": SCORES}, 400, "BAD_USER_INPUT"),
        ({"query": "subscription { a }"}, 400, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query A { models { name } } query B { models { name } }"}, 400, "BAD_REQUEST"),
        ({"query": 3}, 400, "BAD_REQUEST"),
        ({}, 400, "BAD_REQUEST"),
        ([{"query": "{ models { name } }"}], 400, "BAD_REQUEST"),
        ({"query": SCORES, "variables": []}, 400, "BAD_REQUEST"),
        ({"documentId": "../../etc"}, 400, "BAD_REQUEST"),
    ],
)
async def test_bad_requests_are_refused(front: Gateway, body: Any, status: int, code: str):
    """What is no request of this graph has a status and a code, and nobody keeps the answer."""
    answer = await front.send("POST", "/graphql", json=body)
    assert (answer.status, answer.codes[0]) == (status, code)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("query ($id: ID!, $no: Boolean!) { image(id: $id) @include(if: $no) { id } }", {}),
        ("query ($id: ID!) { image(id: $id) @skip(if: true) { id } }", {}),
        (
            "query ($id: ID!) { ...A @include(if: false) } "
            "fragment A on Query { image(id: $id) { id } }",
            {},
        ),
        ("query ($id: ID!) { image(id: $id) { width @skip(if: true) } }", {"image": {}}),
    ],
)
async def test_what_directives_leave_is_answered(
    graph: World, front: Gateway, query: str, data: dict[str, Any]
):
    """A query of which nothing is left has an answer, and it is no error."""
    (image,) = await graph.stored(1)
    variables = {"id": image, "no": False} if "$no" in query else {"id": image}
    answer = await front.ask(query, **variables)
    assert answer.json == {"data": data}


@pytest.mark.parametrize("literal", [r'"\uD83D\uDE00"', r'"\u{1F600}"', "12345678901234567890"])
async def test_a_literal_that_the_planner_cannot_read_is_refused(front: Gateway, literal: str):
    """What is GraphQL and not read here is the request's fault, and in no log as an error."""
    answer = await front.ask(f"{{ image(id: {literal}) {{ id }} }}")
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])
    assert "as a variable" in answer.json["errors"][0]["message"]
    assert "error" not in [line["level"] for line in front.logged]


async def test_no_field_hides_what_the_router_knows_an_image_by(front: Gateway):
    """Another field as `id` would be taken for the image's: it is refused."""
    answer = await front.ask(f'{{ image(id: "{UNKNOWN}") {{ id: width nsfw {{ score }} }} }}')
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])


async def test_deep_variables_are_refused(front: Gateway):
    """Brackets without end cost no stack; those that no variable declares shape nothing."""
    for depth in (66, 200_000):
        nested = "[" * depth + "]" * depth
        answer = await front.send(
            "POST",
            "/graphql",
            data=f'{{"query": "{{ models {{ name }} }}", "variables": {{"a": {nested}}}}}',
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])
        assert answer.json["errors"][0]["extensions"]["field"] == "variables"


async def test_bodies_are_counted(front: Gateway):
    """A JSON body has a limit, whether or not its length is said."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"Content-Type": "application/json"}
    said = await front.send("POST", "/graphql", data=b" " * 1_000_001, headers=headers)
    counted = await front.send("POST", "/graphql", data=endless(), headers=headers)
    assert [said.status, counted.status] == [413, 413]
    assert said.json["errors"][0]["extensions"]["limit"] == "1000000"


async def test_pages_of_other_sites_cannot_ask(front: Gateway):
    """What a browser sends without asking first is refused: plain text, forms, foreign frames."""
    plain = await front.send("POST", "/graphql", data="{}", headers={"Content-Type": "text/plain"})
    form = await front.send(
        "POST", "/graphql", data=aiohttp.FormData({"operations": "{}"}, default_to_multipart=True)
    )
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    framed = await front.get(foreign, query="{ models { name } }")
    assert plain.status == 415
    assert [form.codes, framed.codes] == [["CSRF_PREVENTED"], ["CSRF_PREVENTED"]]


async def test_a_mutation_needs_post(graph: World, front: Gateway):
    """GET changes nothing."""
    (image,) = await graph.stored(1)
    answer = await front.get(query=f'mutation {{ deleteImage(id: "{image}") }}')
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    still = await front.ask(SCORES, id=image)
    assert still.codes == []


@pytest.mark.parametrize("parameters", [{"nocache": "1"}, {"query": SCORES, "releases": "x"}])
async def test_unknown_parameters_are_refused(front: Gateway, parameters: dict[str, str]):
    """A URL has one meaning, and one place in a cache."""
    answer = await front.get(None, **parameters)
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])


def _form(query: str, photo: bytes) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("operations", json.dumps({"query": query, "variables": {"f": None}}))
    form.add_field("map", '{"0": ["variables.f"]}')
    form.add_field("0", io.BytesIO(photo), filename="a.jpg", content_type="image/jpeg")
    return form


UPLOAD = "mutation ($f: Upload!) { uploadImage(file: $f) { created image { id nsfw { score } } } }"


async def test_a_file_goes_all_the_way(graph: World, front: Gateway):
    """A form's file is stored by the images subgraph, and looked at in the same request."""
    photo = jpeg(8, 8, seed=7)
    form = _form(UPLOAD, photo)
    answer = await front.send("POST", "/graphql", data=form, headers=FORM_HEADERS)
    assert answer.json == {
        "data": {
            "uploadImage": {
                "created": True,
                "image": {"id": digest_of(photo), "nsfw": {"score": 0.0}},
            }
        }
    }


async def test_a_file_that_is_too_large_is_refused(front: Gateway):
    """A form has the same limit as an upload through REST."""
    form = _form(UPLOAD, b"x" * MAX_UPLOAD_BYTES)
    answer = await front.send("POST", "/graphql", data=form, headers=FORM_HEADERS)
    assert answer.status == 413


async def test_an_answer_is_kept_and_asked_for_again(graph: World, front: Gateway):
    """Without a release an answer has a tag known before any model runs: 304 without a call."""
    (image,) = await graph.stored(1)
    first = await front.get(query=SCORES, variables={"id": image})
    assert first.headers["Cache-Control"] == "no-cache"
    calls = len(graph.nsfw.calls)
    known = {"If-None-Match": f"W/{first.headers['ETag']}"}
    again = await front.get(known, query=SCORES, variables={"id": image})
    assert again.status == 304
    assert again.headers["ETag"] == first.headers["ETag"]
    assert len(graph.nsfw.calls) == calls
    other = await front.get(known, query=SCORES + " ", variables={"id": image})
    assert other.status == 200


async def test_a_pinned_answer_is_immutable(graph: World, front: Gateway):
    """Content-Location names the release; there the answer is the same and good for a year."""
    (image,) = await graph.stored(1)
    first = await front.get(query=SCORES, variables={"id": image})
    place = first.headers["Content-Location"]
    pinned = await front.send("GET", place)
    assert pinned.text == first.text
    assert pinned.headers["Cache-Control"] == "max-age=31536000, s-maxage=60, immutable"
    assert pinned.headers["ETag"] == first.headers["ETag"]
    assert pinned.headers["Content-Location"] == place
    assert "release=" in place


async def test_any_tag_is_a_304_when_there_is_an_answer(graph: World, front: Gateway):
    """`*` names no answer: it is made, and not sent again when it could be kept."""
    (image,) = await graph.stored(1)
    anything = {"If-None-Match": "*"}
    known = await front.get(anything, query=SCORES, variables={"id": image})
    assert (known.status, len(graph.nsfw.calls)) == (304, 1)
    assert "ETag" in known.headers
    missing = await front.get(anything, query=SCORES, variables={"id": UNKNOWN})
    assert (missing.status, missing.codes) == (200, ["IMAGE_NOT_FOUND"])


async def test_a_question_mark_is_part_of_a_parameter(graph: World, front: Gateway):
    """A URL's query begins at the first question mark, and at no other."""
    variables = json.dumps({"id": UNKNOWN})
    query = SCORES + " # what?"
    answer = await front.send(
        "GET", f"/graphql?{urlencode({'query': query}, safe='?')}&variables={quote(variables)}"
    )
    assert answer.codes == ["IMAGE_NOT_FOUND"]


async def test_what_was_deleted_is_no_304(graph: World, front: Gateway):
    """Whose images are there is looked at before a tag is believed."""
    (image,) = await graph.stored(1)
    first = await front.get(query=SCORES, variables={"id": image})
    await front.ask("mutation ($id: ID!) { deleteImage(id: $id) }", id=image)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await front.get(known, query=SCORES, variables={"id": image})
    assert again.places == {("image",): "IMAGE_NOT_FOUND"}
    assert again.headers["Cache-Control"] == "no-store"


async def test_a_tag_is_of_the_code_that_wrote_the_answer():
    """Code that writes the same facts otherwise has other tags, and parts of two are not kept."""
    written_by = {"images": "a" * 16, "nsfw": "a" * 16}

    def made(subgraph: str, content: Any) -> web.Response:
        headers = {
            "x-visionmesh-release": "1" * 16,
            "x-visionmesh-representation": written_by[subgraph],
        }
        return web.json_response(content, headers=headers)

    async def images(request: web.Request) -> web.Response:
        return made("images", {"data": {"image": {"__typename": "Image", "id": UNKNOWN}}})

    async def standing(request: web.Request) -> web.Response:
        return made("images", {})

    async def nsfw(request: web.Request) -> web.Response:
        return made("nsfw", {"data": {"_entities": [{"nsfw": {"score": 0.5}}]}})

    app = web.Application()
    app.router.add_post("/images", images)
    app.router.add_post("/images/standing", standing)
    app.router.add_post("/nsfw", nsfw)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    query = "query ($id: ID!) { image(id: $id) { id nsfw { score } } }"
    try:
        async with gateway(f"http://127.0.0.1:{runner.addresses[0][1]}") as front:

            async def asked(tag: str = "") -> Answer:
                known = {"If-None-Match": tag} if tag else {}
                return await front.get(known, query=query, variables={"id": UNKNOWN})

            first = await asked()
            same = await asked(first.headers["ETag"])
            written_by["nsfw"] = "b" * 16
            mixed = await asked()
            written_by["images"] = "b" * 16
            changed = await asked(first.headers["ETag"])
    finally:
        await runner.cleanup()
    assert [same.status, mixed.status, changed.status] == [304, 200, 200]
    assert mixed.headers["Cache-Control"] == "no-store"
    assert changed.text == first.text == mixed.text
    assert changed.headers["ETag"] != first.headers["ETag"]


async def test_parts_of_two_releases_are_not_kept(graph: World, front: Gateway):
    """A verdict of another release than the scores beside it makes an answer nobody may keep."""
    (image,) = await graph.stored(1)
    query = "query ($id: ID!) { image(id: $id) { nsfw { score } moderation { isCompliant } } }"
    answer = await front.get(query=query, variables={"id": image})
    assert answer.codes == []
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    "selection", ["image(id: $id) { createdAt }", "image(id: $id) { id } models { name }"]
)
async def test_what_no_release_names_is_not_kept(graph: World, front: Gateway, selection: str):
    """When an image was stored, and what is no image's, follows from no release."""
    (image,) = await graph.stored(1)
    answer = await front.get(query=f"query ($id: ID!) {{ {selection} }}", variables={"id": image})
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_unknown_release_is_an_error_at_each_place(graph: World, front: Gateway):
    """A release that never was answers nothing, and never with another one's results."""
    (image,) = await graph.stored(1)
    answer = await front.get(query=SCORES, variables={"id": image}, release="0" * 16)
    assert answer.places == {("image",): "RELEASE_NOT_FOUND"}
    malformed = await front.get(query=SCORES, variables={"id": image}, release="latest")
    assert (malformed.status, malformed.codes) == (400, ["INVALID_ARGUMENT"])


def _verdict() -> dict[str, str]:
    operations = json.loads((DOCUMENTS / "manifest.json").read_text())["operations"]
    return next(one for one in operations if one["name"] == "Verdict")


async def _automatic(front: Gateway, query: str, *, with_text: bool) -> Answer:
    """As Apollo Client and urql send it."""
    hashed = hashlib.sha256(query.encode()).hexdigest()
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": hashed}}
    more: dict[str, Any] = {"query": query} if with_text else {}
    return await front.get(extensions=extensions, variables={"id": UNKNOWN}, **more)


async def test_known_documents_have_ids(graph: World, front: Gateway):
    """A document of the manifest is asked for by its hash, with or without its algorithm."""
    (image,) = await graph.stored(1)
    for name in (_verdict()["id"], f"sha256:{_verdict()['id']}"):
        answer = await front.get(documentId=name, variables={"id": image})
        assert answer.json["data"]["image"]["moderation"]["isCompliant"] is True


async def test_documents_are_remembered_by_their_hash(front: Gateway):
    """A hash nobody knows is answered in Apollo's words; sent with its text once, it is known."""
    missing = await _automatic(front, SCORES, with_text=False)
    assert (missing.status, missing.codes) == (200, ["PERSISTED_QUERY_NOT_FOUND"])
    assert missing.json["errors"][0]["message"] == "PersistedQueryNotFound"
    assert missing.headers["Cache-Control"] == "no-store"
    registered = await _automatic(front, SCORES, with_text=True)
    known = await _automatic(front, SCORES, with_text=False)
    assert registered.codes == known.codes == ["IMAGE_NOT_FOUND"]


async def test_a_hash_must_be_its_documents(front: Gateway):
    """Nobody gives a document another one's id."""
    answer = await front.send(
        "POST", "/graphql", json={"query": SCORES, "documentId": "0" * 64, "variables": {}}
    )
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])


async def test_only_known_documents_run_when_asked_to(graph: World):
    """With the safelist on, a document of the manifest runs, by id or text, and no other does."""
    async with gateway(graph, VISIONMESH_GRAPHQL_ONLY_KNOWN="true") as front:
        by_id = await front.get(documentId=_verdict()["id"], variables={"id": UNKNOWN})
        by_text = await front.ask(_verdict()["body"], id=UNKNOWN)
        other = await front.ask(SCORES, id=UNKNOWN)
        automatic = await _automatic(front, SCORES, with_text=True)
    assert by_id.codes == by_text.codes == ["IMAGE_NOT_FOUND"]
    assert other.codes == automatic.codes == ["QUERY_NOT_IN_SAFELIST"]
    assert other.status == 403


TYPOS = (
    "{ imagez(ids: []) { id } }",
    "query ($id: ID!) { image(id: $id) { ocr { lines } nsfw { skore } } }",
    "query ($id: ID!) { image(idd: $id) { id } }",
    "query ($id: ID!) { image(id: $id) { ...A } } fragment A on Imag { id }",
    "query ($id: IDD!) { image(id: $id) { id } }",
)


async def test_production_tells_nothing_of_the_schema(graph: World, front: Gateway):
    """Introspection, suggestions and GraphiQL are for development."""
    async with gateway(graph, VISIONMESH_GRAPHQL_PRODUCTION="true") as closed:
        introspection = [
            await closed.ask("{ __schema { types { name } } }"),
            await closed.ask('{ __type(name: "Image") { name } }'),
        ]
        typos = [await closed.ask(typo) for typo in TYPOS]
        page = await closed.send("GET", "/graphql", headers={"Accept": "text/html"})
    for refused in introspection + typos:
        assert refused.status == 400
        assert set(refused.codes) == {"GRAPHQL_VALIDATION_FAILED"}
        assert "did you mean" not in refused.text.lower()
    assert page.status == 400
    for typo in TYPOS:
        assert "Did you mean" in (await front.ask(typo)).text
    assert (await front.ask("{ __schema { types { name } } }")).codes == []


async def test_graphiql_needs_no_other_server(front: Gateway):
    """The page is whole: it loads no script or style from anywhere."""
    page = await front.send("GET", "/graphql", headers={"Accept": "text/html,*/*"})
    assert page.status == 200
    head = page.text[:20_000]
    assert "<script src=" not in page.text
    assert '<link rel="stylesheet"' not in page.text
    assert "visionmesh" in head


async def test_graphiql_is_compressed_and_kept(front: Gateway):
    """The page comes in the coding that a browser takes, and once: then it is a 304."""
    plain = {"Accept": "text/html", "Accept-Encoding": "identity"}
    whole = (await front.send("GET", "/graphql", headers=plain)).text.encode()
    tags = set()
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        for accepted, coding in (("gzip, deflate, br, zstd", "br"), ("br;q=0, gzip", "gzip")):
            headers = {"Accept": "text/html", "Accept-Encoding": accepted}
            async with http.get(f"{front.url}/graphql", headers=headers) as page:
                body = await page.read()
                assert page.headers["Content-Encoding"] == coding
                assert page.headers["Cache-Control"] == "no-cache"
                assert "Accept-Encoding" in page.headers["Vary"]
                assert len(body) < len(whole) / 3
                if coding == "gzip":
                    assert gzip.decompress(body) == whole
                tags.add(known := page.headers["ETag"])
            async with http.get(
                f"{front.url}/graphql", headers={**headers, "If-None-Match": known}
            ) as again:
                assert (again.status, await again.read()) == (304, b"")
    assert len(tags) == 2


async def test_equal_requests_at_once_are_one_execution(graph: World, front: Gateway):
    """Fifty clients that ask the same at the same time cost one call of the model."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    variables = {"id": image}
    asked = [asyncio.create_task(front.get(query=SCORES, variables=variables)) for _ in range(50)]
    await front.arrived(50)
    await graph.nsfw.asked.wait()
    graph.nsfw.released.set()
    answers = await asyncio.gather(*asked)
    assert {answer.text for answer in answers} == {answers[0].text}
    assert len(graph.nsfw.calls) == 1


async def test_who_shares_an_execution_is_told_their_own_trace(graph: World, front: Gateway):
    """Errors of a shared execution name the trace of who reads them, not of who began it."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    graph.detection.error = errors.Overloaded("busy")
    traces = [f"{number:032x}" for number in range(1, 6)]
    asked = [
        asyncio.create_task(
            front.ask(PAGE, {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, ids=[image])
        )
        for trace in traces
    ]
    await front.arrived(5)
    await graph.nsfw.asked.wait()
    graph.nsfw.released.set()
    answers = await asyncio.gather(*asked)
    told = [answer.json["errors"][0]["extensions"]["traceId"] for answer in answers]
    assert told == traces
    assert len(graph.nsfw.calls) == 1


async def test_who_joins_an_execution_waits_no_longer_than_they_would(graph: World, front: Gateway):
    """A shared execution is nobody's excuse: each is answered at the deadline of their own."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    begun = asyncio.create_task(front.get(query=SCORES, variables={"id": image}))
    await graph.nsfw.asked.wait()
    less = {"x-request-timeout-ms": "100"}
    late = await front.get(less, query=SCORES, variables={"id": image})
    assert (late.status, late.json["data"]) == (200, None)
    assert late.codes == ["DEADLINE_EXCEEDED"]
    assert late.headers["Cache-Control"] == "no-store"
    assert not begun.done()
    graph.nsfw.released.set()
    assert (await begun).codes == []
    assert len(graph.nsfw.calls) == 1


async def test_who_hangs_up_is_no_error_in_the_log(graph: World, front: Gateway):
    """A client that leaves is nothing unexpected."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    for ask in (front.get(query=SCORES, variables={"id": image}), front.ask(SCORES, id=image)):
        graph.nsfw.asked.clear()
        graph.nsfw.cancelled.clear()
        left = asyncio.create_task(ask)
        await graph.nsfw.asked.wait()
        left.cancel()
        await asyncio.wait_for(graph.nsfw.cancelled.wait(), PATIENCE_S)
    graph.nsfw.released.set()
    assert (await front.ask(SCORES, id=image)).codes == []
    assert [line for line in front.logged if line["level"] == "error"] == []


async def test_only_envoy_says_for_whom_it_is(tmp_path: Path):
    """With a token, who does not show it is refused, and a tenant's images are its own."""
    token = "t" * 32
    async with (
        world(tmp_path, token=token) as graph,
        gateway(graph, VISIONMESH_TOKEN=token) as front,
    ):
        stranger = await front.ask(SCORES, {"x-visionmesh-tenant": "acme"}, id=UNKNOWN)
        nobody = await front.ask(SCORES, {"x-visionmesh-token": token}, id=UNKNOWN)
        known = {"x-visionmesh-token": token, "x-visionmesh-tenant": "acme"}
        answer = await front.ask(SCORES, known, id=UNKNOWN)
    assert (stranger.status, stranger.codes) == (401, ["UNAUTHENTICATED"])
    assert (nobody.status, nobody.codes) == (401, ["UNAUTHENTICATED"])
    assert answer.codes == ["IMAGE_NOT_FOUND"]


async def test_a_trace_goes_on(graph: World, front: Gateway):
    """Errors and calls carry the trace id that came in."""
    (image,) = await graph.stored(1)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    graph.detection.error = errors.Overloaded("busy")
    answer = await front.ask(PAGE, headers, ids=[image])
    assert answer.json["errors"][0]["extensions"]["traceId"] == trace_id
    assert graph.nsfw.trace_ids == [trace_id]


def _replace(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


DESCRIPTION = '{ __type(name: "Image") { description } }'
OTHER = "An image that is stored."


def _other(supergraph: str) -> str:
    """Another good one."""
    changed = supergraph.replace("A stored image.", OTHER)
    assert changed != supergraph
    return changed


def _bad(supergraph: str) -> tuple[str, ...]:
    """Wrong ones; of the last one the planner does not throw, it ends its process."""
    wrong_key = supergraph.replace('key: "id"', 'key: "_d"', 1)
    assert wrong_key != supergraph
    return ("type {", "type Query { a: Int }", "directive @a on FIELD", wrong_key)


async def test_a_bad_supergraph_changes_nothing_and_a_good_one_is_taken(
    graph: World, tmp_path: Path
):
    """A malformed file is left alone; the next good one is taken up while the gateway runs."""
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    file.write_text(good)
    async with gateway(graph, VISIONMESH_SUPERGRAPH=str(file)) as front:
        for count, bad in enumerate(_bad(good)):
            _replace(file, bad)

            async def refused(most: int = count) -> bool:
                # The file is looked at when somebody asks.
                assert (await front.ask("{ models { name } }")).codes == []
                return [line["level"] for line in front.logged].count("error") > most

            await until(refused, "the bad file was noticed")
        _replace(file, _other(good))

        async def taken_up() -> bool:
            return OTHER in (await front.ask(DESCRIPTION)).text

        await until(taken_up, "the good file was taken up")
        assert (await front.ask(SCORES, id=UNKNOWN)).places == {("image",): "IMAGE_NOT_FOUND"}


async def test_a_bad_supergraph_at_the_start_is_one_line(tmp_path: Path):
    """Whoever starts the gateway is told what is wrong with the file, and nothing else."""
    file = tmp_path / "supergraph.graphql"
    file.write_text(_bad((SUPERGRAPH / "supergraph.graphql").read_text())[-1])
    process = await asyncio.create_subprocess_exec(
        NODE,
        MAIN,
        env={**os.environ, "VISIONMESH_SUPERGRAPH": str(file)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    (line,) = said.decode().splitlines()
    assert line.startswith(f"gateway: {file}: ")
    assert "'_d' not found in type 'Image'" in line


async def test_the_first_request_after_a_change_is_answered_by_the_new_graph(
    graph: World, tmp_path: Path
):
    """Nobody is answered by a graph that is older than the interval says."""
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    file.write_text(good)
    env = {"VISIONMESH_SUPERGRAPH": str(file), "VISIONMESH_SUPERGRAPH_POLL_MS": "0"}
    async with gateway(graph, **env) as front:
        for _ in range(3):
            assert OTHER not in (await front.ask(DESCRIPTION)).text
            _replace(file, _other(good))
            assert OTHER in (await front.ask(DESCRIPTION)).text
            _replace(file, good)


async def test_a_changed_graph_makes_no_old_tag_good(graph: World, tmp_path: Path):
    """What was kept of one supergraph is asked for again under the next."""
    (image,) = await graph.stored(1)
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    file.write_text(good)
    env = {"VISIONMESH_SUPERGRAPH": str(file), "VISIONMESH_SUPERGRAPH_POLL_MS": "0"}
    async with gateway(graph, **env) as front:
        first = await front.get(query=SCORES, variables={"id": image})
        known = {"If-None-Match": first.headers["ETag"]}
        same = await front.get(known, query=SCORES, variables={"id": image})
        _replace(file, _other(good))
        changed = await front.get(known, query=SCORES, variables={"id": image})
    assert [same.status, changed.status] == [304, 200]
    assert changed.headers["ETag"] != first.headers["ETag"]


async def test_what_is_in_flight_finishes(graph: World, front: Gateway):
    """Asked to stop, the gateway answers what it has begun, and exits with 0."""
    (image,) = await graph.stored(1)
    graph.nsfw.released.clear()
    asked = asyncio.create_task(front.ask(SCORES, id=image))
    await graph.nsfw.asked.wait()
    stopping = asyncio.create_task(front.stop())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(stopping), 0.3)
    graph.nsfw.released.set()
    assert (await asked).json["data"]["image"]["nsfw"] == {"score": 0.0}
    assert await asyncio.wait_for(stopping, PATIENCE_S) == 0
