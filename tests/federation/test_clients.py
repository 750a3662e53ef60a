"""Clients that nobody here wrote, over the real gateway: gql, and urql with persisted documents."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from gql import FileVar, GraphQLRequest
from gql.transport.exceptions import TransportQueryError
from graphql import GraphQLError

from federation.documents.manifest import documents
from tests.federation.clients.python import gql_session
from tests.federation.clients.urql import urql
from tests.federation.gateway import Gateway, gateway
from tests.federation.world import World, digest_of
from tests.support.photos import jpeg
from visionmesh.moderation.v1 import moderation_pb2

UNKNOWN = "f" * 64
VERDICT = documents()["verdict.graphql"]
SCORES = "query Scores($id: ID!) { image(id: $id) { id nsfw { score } } }"
UPLOAD = "mutation Upload($file: Upload!) { uploadImage(file: $file) { created image { id } } }"


@pytest_asyncio.fixture
async def strict(graph: World) -> AsyncIterator[Gateway]:
    """A gateway that runs known documents alone."""
    async with gateway(graph, VISIONMESH_GRAPHQL_ONLY_KNOWN="true") as made:
        yield made


def _endpoint(of: Gateway) -> str:
    return f"{of.url}/graphql"


def _reject(graph: World) -> dict[str, Any]:
    """Every image is rejected for four reasons, of which the verdict's document asks three."""
    verdict = graph.moderation.verdict
    verdict.decision = moderation_pb2.DECISION_REJECTED
    for number in range(4):
        verdict.reasons.add(
            code=f"RULE_{number}", severity=moderation_pb2.SEVERITY_HIGH, message=f"Rule {number}."
        )
    reasons = [
        {"code": f"RULE_{number}", "severity": "HIGH", "message": f"Rule {number}."}
        for number in range(3)
    ]
    return {"image": {"moderation": {"isCompliant": False, "rejectionReasons": reasons}}}


def _variables(file: str, image: str) -> dict[str, Any]:
    return {"ids": [image]} if file == "verdicts.graphql" else {"id": image}


async def _release(graph: World, image: str) -> str:
    """The release that answers now."""
    standing = await graph.post("images/standing", {"ids": [image]})
    return str(standing.headers["x-visionmesh-release"])


async def test_gql_asks_for_every_known_document(graph: World, front: Gateway):
    """gql reads the schema by introspection, and each document is valid and answered."""
    (image,) = await graph.stored(1)
    verdict = _reject(graph)
    async with gql_session(_endpoint(front)) as session:
        assert session.client.schema is not None
        answers = {
            file: await session.execute(
                GraphQLRequest(text, variable_values=_variables(file, image))
            )
            for file, text in documents().items()
        }
    assert answers["verdict.graphql"] == verdict
    assert answers["verdicts.graphql"]["images"][0]["moderation"]["isCompliant"] is False
    assert answers["analysis.graphql"]["image"]["nsfw"] == {"score": 0.0}


async def test_gql_is_told_what_failed(graph: World, front: Gateway):
    """An error reaches gql with path and code beside the data; a typo does not leave the client."""
    (image,) = await graph.stored(1)
    async with gql_session(_endpoint(front)) as session:
        page = GraphQLRequest(
            documents()["verdicts.graphql"], variable_values={"ids": [UNKNOWN, image]}
        )
        with pytest.raises(TransportQueryError) as raised:
            await session.execute(page)
        with pytest.raises(GraphQLError, match="imagez"):
            await session.execute(GraphQLRequest("{ imagez { id } }"))
    assert raised.value.data is not None
    missing, found = raised.value.data["images"]
    assert missing is None
    assert found["moderation"]["isCompliant"] is True
    assert raised.value.errors is not None
    (error,) = raised.value.errors
    assert (error["path"], error["extensions"]["code"]) == (["images", 0], "IMAGE_NOT_FOUND")


async def test_gql_uploads_a_file(front: Gateway):
    """gql's multipart request stores an image."""
    photo = jpeg(8, 8, seed=3)
    headers = {"apollo-require-preflight": "true"}
    async with gql_session(_endpoint(front), headers) as session:
        file = FileVar(io.BytesIO(photo), filename="a.jpg", content_type="image/jpeg")
        request = GraphQLRequest(UPLOAD, variable_values={"file": file})
        answer = await session.execute(request, upload_files=True)
    assert answer == {"uploadImage": {"created": True, "image": {"id": digest_of(photo)}}}


@pytest.mark.parametrize("file", sorted(documents()))
async def test_urql_names_known_documents_by_their_hash(graph: World, strict: Gateway, file: str):
    """The hash that urql makes of a document is the manifest's: one GET, without the text."""
    (image,) = await graph.stored(1)
    asked = await urql(_endpoint(strict), documents()[file], _variables(file, image), known=True)
    assert "errors" not in asked.answers[0]
    (request,) = asked.requests
    assert (request.method, request.status) == ("GET", 200)
    assert "query" not in request.parameters


async def test_urql_gets_the_verdict_twice_and_may_keep_it(graph: World, strict: Gateway):
    """Asked again, urql's URL and its entity tag are the same: a cache between them has it."""
    (image,) = await graph.stored(1)
    verdict = _reject(graph)
    graph.moderation.verdict.release = await _release(graph, image)
    asked = await urql(_endpoint(strict), VERDICT, {"id": image}, known=True, times=2)
    assert asked.answers == [{"data": verdict}] * 2
    first, second = asked.requests
    assert first.url == second.url
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    pinned = await strict.send("GET", first.headers["content-location"])
    assert pinned.json == {"data": verdict}
    assert pinned.headers["Cache-Control"].endswith("immutable")


async def test_urql_sends_a_text_once(graph: World, front: Gateway):
    """A document that is not known is sent with its text, and then it is: both over GET."""
    (image,) = await graph.stored(1)
    asked = await urql(_endpoint(front), SCORES, {"id": image}, known=False, times=2)
    assert asked.answers == [{"data": {"image": {"id": image, "nsfw": {"score": 0}}}}] * 2
    assert ["query" in request.parameters for request in asked.requests] == [False, True, False]
    assert {request.method for request in asked.requests} == {"GET"}
    missing, *answered = (request.headers for request in asked.requests)
    assert missing["cache-control"] == "no-store"
    assert [headers["cache-control"] for headers in answered] == ["no-cache"] * 2


async def test_urql_is_told_that_a_document_may_not_run(graph: World, strict: Gateway):
    """With the safelist on, urql learns it from one request, and sends no text."""
    asked = await urql(_endpoint(strict), SCORES, {"id": UNKNOWN}, known=False)
    (error,) = asked.answers[0]["errors"]
    assert error["extensions"]["code"] == "QUERY_NOT_IN_SAFELIST"
    assert [request.status for request in asked.requests] == [403]


async def test_urql_gets_what_is_there_beside_an_error(graph: World, front: Gateway):
    """A lost image is one error with path and code, and nobody keeps the answer."""
    (image,) = await graph.stored(1)
    variables = {"ids": [image, UNKNOWN]}
    asked = await urql(_endpoint(front), documents()["verdicts.graphql"], variables, known=True)
    (answer,) = asked.answers
    assert answer["data"]["images"][0]["moderation"]["isCompliant"] is True
    assert answer["data"]["images"][1] is None
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["images", 1], "IMAGE_NOT_FOUND")
    (request,) = asked.requests
    assert (request.status, request.headers["cache-control"]) == (200, "no-store")
