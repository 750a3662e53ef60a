"""Asking for another replica, as Envoy sees it on the wire."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from services import errors
from services.serving import elsewhere
from services.serving.server import grpc_server
from services.serving.status import from_rpc_error
from tests.support.mesh import FakeNsfw, adding, digests, registering
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2_grpc import NsfwServiceStub

REQUEST = nsfw_pb2.ClassifyRequest(images=[ImageRef(digest=digests(1)[0])])


class Outdated(FakeNsfw):
    """Has nothing of what it is asked for, and says so where another replica can be tried."""

    async def Classify(self, request: nsfw_pb2.ClassifyRequest, context: Any):
        if elsewhere.possible():
            raise elsewhere.Elsewhere
        return await super().Classify(request, context)


@pytest.mark.parametrize("attempt", ["1", "2"])
async def test_answer_carries_the_header(attempt: str):
    """The call is aborted as not found, with initial metadata that Envoy retries on."""
    async with (
        grpc_server(registering(adding(Outdated()))) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = NsfwServiceStub(channel).Classify(
            REQUEST, metadata=((elsewhere.ATTEMPT_HEADER, attempt),)
        )
        assert (elsewhere.HEADER, "1") in tuple(await call.initial_metadata())
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert isinstance(from_rpc_error(failure.value), errors.ResultNotFound)


@pytest.mark.parametrize("attempt", ["3", "17", "x", "", "-1", "²"])
async def test_last_attempt_is_answered(attempt: str):
    """From the third attempt on, and for words that are no attempt, there is nowhere else."""
    elsewhere.adopt(attempt)
    assert not elsewhere.possible()


async def test_without_envoy_there_is_nowhere_else():
    """A call that came directly is answered here, and its answer asks for nothing."""
    async with (
        grpc_server(registering(adding(Outdated()))) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = NsfwServiceStub(channel).Classify(REQUEST)
        assert len((await call).outcomes) == 1
        assert elsewhere.HEADER not in dict(tuple(await call.initial_metadata()))
