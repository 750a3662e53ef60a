"""Requests of the gateway: what is one, how big it may be, and documents that have names."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest

from federation.documents.manifest import FOLDER as DOCUMENTS
from services.limits import MAX_UPLOAD_BYTES
from tests.federation.gateway import (
    PAGE,
    SCORES,
    UNKNOWN,
    Answer,
    Gateway,
    gateway,
)
from tests.federation.world import World, digest_of
from tests.support.photos import jpeg

FORM_HEADERS = {"apollo-require-preflight": "true"}


ALIASES = (
    "query ($id: ID!) { " + " ".join(f"a{n}: image(id: $id) {{ id }}" for n in range(51)) + " }"
)
INTO = "query ($ids: [ID!]!) { images(ids: $ids) { ...A } } fragment A on Image { "
DEAR = (
    INTO
    + " ".join(
        f"m{n}: ocr {{ lines {{ corners {{ x y }} box {{ x y width height }} }} }}"
        for n in range(30)
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


async def test_a_question_mark_is_part_of_a_parameter(graph: World, front: Gateway):
    """A URL's query begins at the first question mark, and at no other."""
    variables = json.dumps({"id": UNKNOWN})
    query = SCORES + " # what?"
    answer = await front.send(
        "GET", f"/graphql?{urlencode({'query': query}, safe='?')}&variables={quote(variables)}"
    )
    assert answer.codes == ["IMAGE_NOT_FOUND"]


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
